"""The command line: flags, exit codes, the commands."""
