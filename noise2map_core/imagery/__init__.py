"""Pixels of scenes: masked, composed, compared between dates."""
