"""Checks of a dataset: what in it would make an audit misleading."""
