"""Plug-ins for loops that people already run: the worst group's bound as the number, other rows for the verdict."""
