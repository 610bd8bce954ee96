"""The module of an architecture for a dataset, before it has a network's weights."""

from __future__ import annotations

from torch import nn

from fairpress.datasets.dataset import Dataset
from fairpress.models.registry import Architecture, build


def initialize(architecture: Architecture, dataset: Dataset) -> nn.Module:
    """Return the module that reads a row of this dataset and tells its classes apart."""
    return build(architecture, row_shape(dataset), len(dataset.task.classes))


def row_shape(dataset: Dataset) -> tuple[int, ...]:
    """Return what one row looks like: (columns,) or (3, height, width)."""
    return tuple(dataset.inputs.shape[1:])
