"""Tiles by networks: everything that happens where the network is, on a GPU or a CPU."""
