"""Alerts: what each pixel was found to be, look after look, and the objects that this makes."""
