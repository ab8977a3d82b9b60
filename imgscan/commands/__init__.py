"""One file per command of the command line: what is printed, written and answered.  The cli*.py above declare the flags."""
