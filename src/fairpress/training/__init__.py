"""Fit a model: one network or many at once."""
