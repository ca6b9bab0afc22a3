"""What is known of the ground: classes of rasters and polygons, and places to learn and to test."""

IGNORE = 255
"""Label of a pixel that nobody labelled."""
