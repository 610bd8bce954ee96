"""Facts of a dataset that a study needs before any task; cached, since reading data takes seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fairpress.core.canonical_json import digest
from fairpress.core.code_digest import code_digest
from fairpress.datasets import registry
from fairpress.store.local import Store
from fairpress.studies.config.store_files import FACTS
from fairpress.studies.config.study import DatasetChoice
from fairpress.studies.planning.folds import load_fold


@dataclass(frozen=True)
class DataFacts:
    """Facts of a dataset with one of its folds as the test part.

    Attributes
    ----------
    groups
        Sensitive attribute → its groups.
    repeated
        Whether some people have several rows.
    """

    name: str
    fingerprint: str
    positive: str | None
    groups: Mapping[str, list[str]]
    repeated: bool
    notes: list[str]
    warnings: list[str]


def data_facts(
    store: Store, dataset: DatasetChoice, folds: int, fold: int, *, remember: bool = True
) -> DataFacts:
    """Return the facts of a dataset; raise UserError if the data is missing or unusable.

    Facts of a bundled dataset, whose files are verified by digest, are cached in the store under the digests of files,
    options and reading code, unless `remember` is false. A user's table is read each time.
    """
    key = _key(dataset, folds, fold)
    stored = store.get(key) if key is not None else None
    if stored is not None:
        return DataFacts(**json.loads(stored.files[FACTS]))
    data = load_fold({"name": dataset.name, "options": dataset.options, "folds": folds}, fold)
    facts = DataFacts(
        name=data.name,
        fingerprint=data.fingerprint,
        positive=data.task.positive,
        groups={name: np.unique(values).tolist() for name, values in data.attributes.items()},
        repeated=len(np.unique(data.subjects)) < len(data),
        notes=list(data.notes),
        warnings=list(data.warnings),
    )
    if key is not None and remember:
        store.remember(
            key, {FACTS: json.dumps(asdict(facts), indent=1).encode()}, {"kind": "data", "seconds": 0.0}
        )
    return facts


def _key(dataset: DatasetChoice, folds: int, fold: int) -> str | None:
    if dataset.name not in registry.names():
        return None
    files = registry.file_digests(dataset.name)
    if not files:
        return None
    dependencies: dict[str, Any] = {
        "kind": "data",
        "name": dataset.name,
        "options": dataset.options,
        "folds": [folds, fold],
        "files": files,
        "code": code_digest("fairpress.datasets"),
    }
    return digest(dependencies)
