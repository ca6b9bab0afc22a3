"""Settings of the commands that are no applications."""
