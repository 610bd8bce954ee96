"""Build the module of an architecture for a dataset, with initial weights."""

from __future__ import annotations

from torch import nn

from fairpress.datasets.dataset import Dataset
from fairpress.models.registry import Architecture, build


def initialize(architecture: Architecture, dataset: Dataset) -> nn.Module:
    """Return the module for the inputs and the task of this dataset."""
    return build(architecture, row_shape(dataset), dataset.task.width)


def row_shape(dataset: Dataset) -> tuple[int, ...]:
    """Return the shape of one row: (columns,), (3, height, width), or (maximum length,) of token ids."""
    return tuple(dataset.inputs.shape[1:])
