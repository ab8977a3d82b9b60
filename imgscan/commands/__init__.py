"""One file per command of the command line: what is printed, written and answered.  cli.py and cli_train.py declare the flags."""
