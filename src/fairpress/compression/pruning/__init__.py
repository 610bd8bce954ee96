"""Pruning masks, and importance of weights by group."""
