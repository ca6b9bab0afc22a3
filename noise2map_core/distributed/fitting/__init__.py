"""Trainings on Ray Train."""
