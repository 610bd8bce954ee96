"""Datasets: a file per dataset; each knows its task, its sensitive attributes, its subjects and its parts."""
