"""Scores of models on chips, and pictures of them."""
