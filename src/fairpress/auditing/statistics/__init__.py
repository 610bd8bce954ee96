"""Estimators, intervals and tests. Pure numpy and scipy: nothing here knows about fairness or models."""
