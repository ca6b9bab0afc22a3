"""Change found by the statistics of a pair, without labels."""
