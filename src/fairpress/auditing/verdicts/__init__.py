"""Verdicts from estimates: non-inferiority, multiplicity, sample size, gates, wording."""
