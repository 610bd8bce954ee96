"""Estimates per group, with rows, people or training seeds as the random units."""
