"""Settings of commands on finished maps: what each is told."""
