"""Colours and names of maps, as other programs take them: QGIS, GeoServer."""
