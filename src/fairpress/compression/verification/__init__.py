"""Checks that a compressed file is what was requested."""
