"""Architectures by name, built from a card or a config."""
