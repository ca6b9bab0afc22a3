"""What is made of alerts: rasters, other programs' encodings, GeoPackage, STAC item."""
