"""The work for each kind of task: read inputs from the store, compute, and store the result."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from fairpress.core.card import ModelCard
from fairpress.runtime.artifact import Artifact
from fairpress.store.local import Store
from fairpress.store.remote import open_store
from fairpress.studies.analysis import audit_tasks, tradeoff
from fairpress.studies.analysis.claims.task import answer_claims
from fairpress.studies.config.network_facts import NetworkFacts, facts_json
from fairpress.studies.config.store_files import FACTS, PREDICTIONS, parquet_bytes, read_entry
from fairpress.studies.planning.folds import load_folds
from fairpress.studies.planning.plan import Kind, StudyTask

if TYPE_CHECKING:
    import pyarrow as pa

Work = Callable[[Store, StudyTask], dict[str, bytes]]


def perform(root: str, task: StudyTask) -> float:
    """Compute the task's entry in the store at `root` unless it exists; return the seconds it took.

    Raises
    ------
    FairpressError
        An input is missing, or the task failed with a known cause.
    """
    store = open_store(root)
    with store.lock(task.key):
        started, processor = time.perf_counter(), time.process_time()
        if store.get(task.key) is None:
            files = worker_function(task.kind)(store, task)
            store.put(
                task.key,
                files,
                {
                    "title": task.title,
                    "kind": task.kind,
                    "recipe": task.recipe,
                    "dataset": task.params.get("dataset", {}).get("name", ""),
                    "networks": len(task.networks),
                    "seconds": time.perf_counter() - started,
                    "processor_seconds": time.process_time() - processor,
                },
            )
    return time.perf_counter() - started


def read_artifacts(store: Store, key: str) -> list[Artifact]:
    """Return the artifacts of a finished train or compress task, in the order of its networks."""
    files = read_entry(store, key).files
    names = sorted({name.partition(".")[0] for name in files})
    return [
        Artifact(
            ModelCard.from_json(files[f"{name}.card.json"].decode()),
            files[f"{name}.onnx"],
            files.get(f"{name}.safetensors"),
            tokenizer=files.get(f"{name}.tokenizer.json"),
        )
        for name in names
    ]


def _pack(artifacts: Sequence[Artifact]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for i, artifact in enumerate(artifacts):
        files[f"{i:04d}.onnx"] = artifact.onnx
        files[f"{i:04d}.card.json"] = artifact.card.to_json().encode()
        if artifact.weights is not None:
            files[f"{i:04d}.safetensors"] = artifact.weights
        if artifact.tokenizer is not None:
            files[f"{i:04d}.tokenizer.json"] = artifact.tokenizer
    return files


def _train(store: Store, task: StudyTask) -> dict[str, bytes]:
    from fairpress.models import registry
    from fairpress.training.config import training_config
    from fairpress.training.fit import fit

    model = task.params["model"]
    data = [d.development() for d in load_folds(task)]
    architecture = registry.get(model["name"], **model["options"])
    config = training_config(architecture, task.params["training"])
    return _pack(
        fit(architecture, data, [seed for seed, _ in task.networks], config, device=task.params["device"])
    )


def _compress(store: Store, task: StudyTask) -> dict[str, bytes]:
    from fairpress.compression.apply import compress
    from fairpress.compression.recipes import parse

    bases = read_artifacts(store, task.inputs[0])
    data = [d.development() for d in load_folds(task)]
    seeds = [seed for seed, _ in task.networks]
    return _pack(compress(bases, parse(task.params["steps"]), data, seeds))


def _predict(store: Store, task: StudyTask) -> dict[str, bytes]:
    from fairpress.runtime.mitigate import apply_mitigation
    from fairpress.runtime.predict import predictions

    tables, facts = [], []
    repair = task.params.get("mitigation")
    group = task.params["dataset"].get("group")
    for artifact, (seed, fold), data in zip(
        read_artifacts(store, task.inputs[0]), task.networks, load_folds(task), strict=True
    ):
        provenance = dict(artifact.card.provenance)
        if repair is not None:
            artifact = apply_mitigation(artifact, data, seed=seed, **repair)
            assert artifact.mitigation is not None
            provenance = {"mitigation": json.loads(artifact.mitigation.to_json())}
        tables.append(
            _numbered(predictions({task.recipe: artifact}, data, part="test", threads=1), seed, fold)
        )
        facts.append(
            NetworkFacts(
                recipe=task.recipe,
                seed=seed,
                fold=fold,
                group=group or {},
                bytes=artifact.size,
                gzip_bytes=len(gzip.compress(artifact.onnx, 6, mtime=0)),
                sha256=artifact.digest,
                threshold=artifact.card.threshold,
                provenance=provenance,
            )
        )
    return _predicted(tables, facts)


def _naive(store: Store, task: StudyTask) -> dict[str, bytes]:
    import numpy as np
    import pyarrow as pa

    from fairpress.runtime.predict import predictions
    from fairpress.studies.analysis.naive_predictors import PREDICTORS

    tables = []
    for (seed, fold), data in zip(task.networks, load_folds(task), strict=True):
        predicted = np.array(data.task.classes)[PREDICTORS[task.params["predictor"]](data)]
        table = predictions({}, data, part="test").append_column(task.recipe, pa.array(predicted))
        tables.append(_numbered(table, seed, fold))
    return _predicted(tables, [])


def _numbered(table: pa.Table, seed: int, fold: int) -> pa.Table:
    import pyarrow as pa

    for name, value in (("seed", seed), ("fold", fold)):
        table = table.append_column(name, pa.array([value] * table.num_rows, pa.int64()))
    return table


def _predicted(tables: Sequence[pa.Table], facts: Sequence[NetworkFacts]) -> dict[str, bytes]:
    import pyarrow as pa

    return {
        PREDICTIONS: parquet_bytes(pa.concat_tables(tables)),
        FACTS: facts_json(facts),
    }


def worker_function(kind: Kind) -> Work:
    """Return the function that computes the files of a kind of task from the store and the task."""
    work: Mapping[Kind, Work] = {
        "train": _train,
        "compress": _compress,
        "predict": _predict,
        "naive": _naive,
        "join": audit_tasks.join_predictions,
        "audit": audit_tasks.audit_predictions,
        "tradeoff": tradeoff.tradeoff,
        "claims": answer_claims,
    }
    return work[kind]
