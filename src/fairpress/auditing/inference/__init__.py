"""Estimates per group from rows, people or training seeds."""
