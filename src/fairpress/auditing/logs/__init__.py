"""Logs of evaluations as tables to audit: items are paired strictly, and what was assumed is recorded."""
