"""The commands as functions of Python."""
