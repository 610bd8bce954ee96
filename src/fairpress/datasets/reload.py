"""Load the dataset that a model's card describes, from any working directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage, print_message
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.registry import load

LOADER = "loader"
"""The name of rows that came as batches, which nothing can load again."""


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Return the card's facts about a dataset, which load it again."""
    facts: dict[str, Any] = {
        "name": dataset.name,
        "config": dict(dataset.config),
        "fingerprint": dataset.fingerprint,
    }
    if dataset.path:
        facts["path"] = dataset.path
    if dataset.warnings:
        facts["warnings"] = list(dataset.warnings)
    return facts


def reload(facts: Mapping[str, Any], on_message: OnMessage = print_message) -> Dataset:
    """Return the dataset of `dataset_facts`.

    A YAML file is looked for where it was, and then by its name from the working directory.

    Raises
    ------
    UserError
        It is at neither path, or its content or split has changed.
    """
    name, config = facts.get("name"), facts.get("config", {})
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise UserError("the model's card does not name its dataset; pass it as `data=`.")
    if name == LOADER and not facts.get("fingerprint"):
        raise UserError(
            "this model was compressed in Python with batches, so its card names no data; name the data with --data, or "
            "pass `data=` in Python, which may be batches again."
        )
    options = {str(k): v for k, v in config.items()}
    if reserved := {"name", "on_message"} & options.keys():
        raise UserError(
            f"the model's card names {min(reserved)!r} as an option of its dataset, which it is not."
        )
    sources = sources_of(facts)
    present = [p for p in sources if not _is_file(p) or os.path.isfile(p)]
    if not present:
        raise UserError(
            f"the data that this model was trained on are described by {name!r}, which is not at {' or '.join(sources)}; "
            "put the file back, or pass it as `data=`."
        )
    for source in present:
        dataset = load(source, on_message=on_message, **options)
        if dataset.fingerprint == facts.get("fingerprint"):
            return dataset
    raise UserError(
        f"{name!r} differs from what this model was trained on (in content or split), so its test rows may have been "
        f"training "
        "rows; restore the data, or train again."
    )


def sources_of(facts: Mapping[str, Any]) -> list[str]:
    """Return where the dataset of `dataset_facts` is looked for: its path, then its name."""
    sources = (facts.get("path"), facts.get("name"))
    return list(dict.fromkeys(source for source in sources if isinstance(source, str) and source))


def _is_file(source: str) -> bool:
    return Path(source).suffix.lower() in (".yaml", ".yml")
