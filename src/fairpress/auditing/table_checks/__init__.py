"""Checks of single columns and of rows that find people, or rows, that were counted several times."""
