"""What a pixel of an invented world is."""

OTHER, BUILDING, ROAD, WATER, TREE, FIELD, BARE, BURNT = range(8)
NAMES = ("other", "building", "road", "water", "tree", "field", "bare", "burnt")
"""Name of each value of a class map; of land, building means built-up."""
