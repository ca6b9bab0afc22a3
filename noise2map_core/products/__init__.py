"""What is made of a mosaic: rasters, polygons, pictures, STAC item, report."""
