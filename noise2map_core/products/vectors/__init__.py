"""Areas of a map as polygons: traced, and written to files."""
