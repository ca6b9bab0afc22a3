"""Ray: the only part of the library that imports it."""
