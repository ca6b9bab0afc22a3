"""The STAC of maps: items and collections."""
