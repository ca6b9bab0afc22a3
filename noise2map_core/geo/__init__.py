"""Where things are: areas of interest, the anchored grid, pixel windows."""
