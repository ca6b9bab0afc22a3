"""A page that shows a map, or an area's nights, in a browser: by ranges of its files, offline."""
