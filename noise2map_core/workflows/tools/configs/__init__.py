"""Settings of commands on configs."""
