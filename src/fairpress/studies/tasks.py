"""What a worker does for each kind of task: read inputs from the store, compute, put the result back."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fairpress.core.canonical import canonical_json
from fairpress.core.card import ModelCard
from fairpress.core.errors import FairpressError
from fairpress.datasets.base import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.store.content import Entry, Store
from fairpress.studies.plan import Task

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTIONS = "predictions.parquet"
FACTS = "facts.json"


def perform(root: str, task: Task) -> float:
    """Make the task's entry in the store at `root`, unless it is there; return the seconds it took.

    Raises
    ------
    FairpressError
        An input is missing, or the work itself refuses with a sentence.
    """
    started = time.perf_counter()
    store = Store(root)
    with store.lock(task.key):
        if store.get(task.key) is None:
            files = _WORK[task.kind](store, task)
            seconds = time.perf_counter() - started
            store.put(
                task.key,
                files,
                {"title": task.title, "kind": task.kind, "recipe": task.recipe, "seconds": seconds},
            )
    return time.perf_counter() - started


def load_folds(task: Task) -> list[Dataset]:
    """Return the dataset of each network of the task, in order; a fold is read once per process."""
    data = task.params["dataset"]
    return [load_fold(data["name"], data["options"], data["folds"], fold) for _, fold in task.networks]


def load_fold(name: str, options: Mapping[str, Any], folds: int, fold: int) -> Dataset:
    """Return a dataset with one of its folds as the test part (its own split when there is one fold)."""
    return _fold(name, canonical_json(options), folds, fold)


def read_predictions(store: Store, task: Task) -> pa.Table:
    """Return what a finished predict task left: seed, fold, row, label, attributes, model columns."""
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(_entry(store, task.key).files[PREDICTIONS]))


def read_facts(store: Store, task: Task) -> list[dict[str, Any]]:
    """Return size, digest, threshold and provenance of each network of a finished predict task."""
    facts: list[dict[str, Any]] = json.loads(_entry(store, task.key).files[FACTS])
    return facts


def read_artifacts(store: Store, key: str) -> list[Artifact]:
    """Return the artifacts of a finished train or compress task, in the order of its networks."""
    files = _entry(store, key).files
    names = sorted({name.partition(".")[0] for name in files})
    return [
        Artifact(
            ModelCard.from_json(files[f"{name}.card.json"].decode()),
            files[f"{name}.onnx"],
            files.get(f"{name}.safetensors"),
        )
        for name in names
    ]


@lru_cache(maxsize=64)
def _fold(name: str, options: str, folds: int, fold: int) -> Dataset:
    from fairpress import datasets

    split: dict[str, Any] = {"folds": folds, "fold": fold} if folds > 1 else {}
    return datasets.load(name, **json.loads(options), **split)


def _entry(store: Store, key: str) -> Entry:
    entry = store.get(key)
    if entry is None:
        raise FairpressError(f"the result {key[:12]} that this step reads is gone; run the study again.")
    return entry


def _pack(artifacts: Sequence[Artifact]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for i, artifact in enumerate(artifacts):
        files[f"{i:04d}.onnx"] = artifact.onnx
        files[f"{i:04d}.card.json"] = artifact.card.to_json().encode()
        if artifact.weights is not None:
            files[f"{i:04d}.safetensors"] = artifact.weights
    return files


def _train(store: Store, task: Task) -> dict[str, bytes]:
    from fairpress.models import registry
    from fairpress.training.fit import FitConfig, fit

    model = task.params["model"]
    data = [d.development() for d in load_folds(task)]
    config = FitConfig.model_validate(task.params["training"])
    architecture = registry.get(model["name"], **model["options"])
    return _pack(
        fit(architecture, data, [seed for seed, _ in task.networks], config, device=task.params["device"])
    )


def _compress(store: Store, task: Task) -> dict[str, bytes]:
    from fairpress.compression.apply import compress
    from fairpress.compression.recipes import parse

    bases = read_artifacts(store, task.inputs[0])
    data = [d.development() for d in load_folds(task)]
    seeds = [seed for seed, _ in task.networks]
    return _pack(compress(bases, parse(task.recipe), data, seeds))


def _predict(store: Store, task: Task) -> dict[str, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fairpress.runtime.predict import predictions

    tables, facts = [], []
    for artifact, (seed, fold), data in zip(
        read_artifacts(store, task.inputs[0]), task.networks, load_folds(task), strict=True
    ):
        table = predictions({task.recipe: artifact}, data, part="test", threads=1)
        for name, value in (("seed", seed), ("fold", fold)):
            table = table.append_column(name, pa.array([value] * table.num_rows, pa.int64()))
        tables.append(table)
        facts.append(
            {
                "recipe": task.recipe,
                "seed": seed,
                "fold": fold,
                "bytes": artifact.size,
                "gzip_bytes": len(gzip.compress(artifact.onnx, 6, mtime=0)),
                "sha256": artifact.digest,
                "threshold": artifact.card.threshold,
                "provenance": dict(artifact.card.provenance),
            }
        )
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), sink)
    return {PREDICTIONS: sink.getvalue(), FACTS: json.dumps(facts, indent=1).encode()}


_WORK: dict[str, Any] = {"train": _train, "compress": _compress, "predict": _predict}
