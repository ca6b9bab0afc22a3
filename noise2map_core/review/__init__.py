"""Alerts as people see them, and what they say of them."""
