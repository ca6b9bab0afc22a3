"""What a pixel of an invented world is."""

OTHER, BUILDING, ROAD, WATER, TREE, FIELD, BARE = range(7)
NAMES = ("other", "building", "road", "water", "tree", "field", "bare")
"""Name of each value of a class map; of land, building means built-up."""
