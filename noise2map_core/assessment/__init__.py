"""Accuracy and area of a finished map, from a sample that people interpret."""
