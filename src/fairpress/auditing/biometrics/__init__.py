"""Pairs of people with a score: thresholds from other rows, pairs to audit, and which pairs share people."""
