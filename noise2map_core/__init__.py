"""Noise2Map on Ray: semantic maps and change maps of whole regions."""

__version__ = "0.1.0"
