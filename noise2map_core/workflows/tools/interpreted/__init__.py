"""Settings of the commands on what people see in imagery."""
