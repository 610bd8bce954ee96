"""A dataset that a YAML file describes: a table, or images where it says `image`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairpress.core.config import parse, read_yaml
from fairpress.datasets.base import Dataset
from fairpress.datasets.images_config import Images
from fairpress.datasets.sources import Say
from fairpress.datasets.table_config import Place, Table


def kind_of(document: Any) -> type[Table | Images]:
    """Return what a YAML document describes: images where it has the key `image`, else a table."""
    return Images if isinstance(document, Mapping) and "image" in document else Table


def load_yaml(path: str, overrides: Mapping[str, Any], say: Say) -> Dataset:
    """Return the dataset that a YAML file describes; see `Table` and `Images` for its keys.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Options that replace or add to those in the file, such as ``folds``.
    say
        Receives a sentence before each slow step.

    Raises
    ------
    UserError
        Every error of the YAML at once, with line and column; or what is wrong in the data.
    """
    document = read_yaml(path)
    if isinstance(document, dict):
        document.update(overrides)
    options = parse(kind_of(document), document, path)
    dumped = options.model_dump(mode="json")
    config = {key: dumped[key] for key in overrides}
    dataset = options.read_at(Place(path, Path(path).parent, config, document), say)
    return replace(dataset, path=str(Path(path).absolute()))
