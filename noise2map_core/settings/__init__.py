"""Sections of settings, one noun each, and how they are read. Knows pydantic and YAML, no more."""
