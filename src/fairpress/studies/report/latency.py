"""Time one network of every recipe of a study, in the driver after all tasks; cached per processor."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from fairpress.core.canonical_json import digest
from fairpress.core.code_digest import code_digest
from fairpress.reporting.tradeoff_result import is_control
from fairpress.runtime.backends.base import Backend, processor
from fairpress.runtime.benchmark.inputs import BenchmarkModel
from fairpress.runtime.benchmark.run import TABLE_BATCHES, bench_all
from fairpress.runtime.onnx.load import parse_model
from fairpress.store.local import Store
from fairpress.studies.config.recipe_names import BASELINE
from fairpress.studies.execution.tasks import read_artifacts
from fairpress.studies.planning.plan import StudyPlan

LATENCY = "latency.json"
ROUNDS = 7


def latency(
    store: Store, plan: StudyPlan, models: Sequence[str], undone: Collection[str]
) -> dict[str, Any] | None:
    """Return a benchmark as from `Bench.to_dict`, of the first network of each model; None without a baseline.

    A model whose first task failed is omitted. Models with the same graph, that is the same operations on tensors of the
    same shapes and types, are timed once and listed in a note: zeros in dense weights do not change the time. Each timed
    model needs separate processes.
    """
    entries = []
    models_of_graph: dict[tuple[object, ...], list[str]] = {}
    for model in models:
        tasks = [t for t in plan.predictions(model, "") if t.key not in undone]
        if tasks and not is_control(model):
            artifact = read_artifacts(store, tasks[0].inputs[0])[0]
            same_graph = models_of_graph.setdefault(_graph(artifact.onnx), [])
            same_graph.append(model)
            if len(same_graph) > 1:
                continue
            entries.append(BenchmarkModel(model, artifact.onnx, artifact.card, (Backend(threads=1),)))
    if not entries or entries[0].name != BASELINE:
        return None
    key = digest(
        {
            "kind": "latency",
            "models": [[e.name, digest(e.onnx.hex())] for e in entries],
            "same": list(models_of_graph.values()),
            "rounds": ROUNDS,
            "processor": processor(),
            "code": code_digest("fairpress.runtime"),
        }
    )
    stored = store.get(key)
    if stored is not None:
        return dict(json.loads(stored.files[LATENCY]))
    bench = bench_all(entries, TABLE_BATCHES, rounds=ROUNDS).to_dict()
    bench["notes"] += [
        f"Not timed separately, since the graph is that of {first}: {', '.join(duplicates)}."
        for first, *duplicates in models_of_graph.values()
        if duplicates
    ]
    store.remember(key, {LATENCY: json.dumps(bench).encode()}, {"kind": "latency", "seconds": 0.0})
    return bench


def _graph(onnx: bytes) -> tuple[object, ...]:
    """Return the operations of a file, and the types and shapes of its constants."""
    graph = parse_model(onnx).graph
    return (
        *(node.op_type for node in graph.node),
        *((t.data_type, tuple(t.dims)) for t in graph.initializer),
    )
