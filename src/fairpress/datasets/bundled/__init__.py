"""Datasets that ship with fairpress, a file per dataset."""
