"""Events of an area as messages and feeds: each told once."""
