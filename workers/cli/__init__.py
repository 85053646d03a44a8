"""The command line, `mailroom`."""
