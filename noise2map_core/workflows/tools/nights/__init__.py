"""Settings of the commands on areas that run-nightly watches."""
