"""Estimators, intervals and tests. Pure numpy and scipy, independent of fairness and models."""
