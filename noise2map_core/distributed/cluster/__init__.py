"""A Ray cluster: found or started, what it must have, what it says."""
