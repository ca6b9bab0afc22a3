"""The chip store: planned, written, appended to, repaired, read."""
