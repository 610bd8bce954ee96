"""Repairs of a finished model's scores and decisions, fitted on validation rows."""
