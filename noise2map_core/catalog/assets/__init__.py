"""What an asset of an item may be besides a GeoTIFF at one address."""
