"""Outcomes other than classes: numbers, ratios of sums and others, one kind a file."""
