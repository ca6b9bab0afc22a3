"""Change that nobody taught: by the statistics of a pair, or by comparing two maps."""
