"""Invented worlds: pairs of images with the classes of each date, as many as one wants."""
