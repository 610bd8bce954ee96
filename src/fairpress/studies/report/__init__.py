"""A finished study's folder: report, tables, figures, models."""
