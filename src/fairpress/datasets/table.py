"""A user's own table as a dataset, by a few lines of YAML and no code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.config import parse, read_yaml
from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.base import PARTS, Dataset, Part, Task
from fairpress.datasets.build import build
from fairpress.datasets.columns import Column, column, read_table
from fairpress.datasets.encode import Encoder
from fairpress.datasets.groups import binned
from fairpress.datasets.sources import Say
from fairpress.datasets.table_config import Attribute, Table

MISSING_GROUP = "(missing)"
MOST_CATEGORIES = 200
MOST_GROUPS = 200
MOST_CLASSES = 1000


def load_yaml(path: str, overrides: Mapping[str, Any]) -> Dataset:
    """Return the dataset that a YAML file describes; see `Table` for its keys.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Options that replace or add to those in the file, such as ``folds``.

    Raises
    ------
    UserError
        Every error of the YAML at once, with line and column; or what is wrong in the table.
    """
    document = read_yaml(path)
    if isinstance(document, dict):
        document.update(overrides)
    options = parse(Table, document, path)
    return _dataset(options, Path(path).parent, path, dict(overrides), _Places(document, path))


def load_table(options: Table, say: Say) -> Dataset:
    """Return the dataset of options given in Python; a relative path starts from the working directory."""
    return _dataset(options, Path(), "table", None, _Places({}, "table"))
