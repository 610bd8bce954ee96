"""Rates of a classifier, fairness metrics over groups, and their changes."""
