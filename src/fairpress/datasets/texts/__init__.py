"""Texts as inputs of a dataset, and what can be told from their characters."""
