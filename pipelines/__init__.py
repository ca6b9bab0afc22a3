"""Applications: each a readable composition of core parts; a leaf, imported by tests only."""
