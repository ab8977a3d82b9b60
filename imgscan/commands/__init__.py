"""One file per command of the command line: what is printed, written and answered.  cli.py declares the flags."""
