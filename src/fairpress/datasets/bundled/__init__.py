"""Datasets that fairpress knows by name, a file per dataset."""
