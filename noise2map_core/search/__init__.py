"""Sweeps over settings: spaces, trials, pictures. Without Ray."""
