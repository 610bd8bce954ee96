"""Time one network of every recipe of a study, in the driver, after everything else; remembered per processor."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from fairpress.core.canonical import digest
from fairpress.runtime.bench_all import TABLE_BATCHES, bench_all
from fairpress.runtime.contestants import Entry
from fairpress.runtime.runtimes import Runtime, processor
from fairpress.store.content import Store
from fairpress.studies.code import code_digest
from fairpress.studies.plan import BASELINE, Plan
from fairpress.studies.tasks import read_artifacts

LATENCY = "latency.json"
ROUNDS = 7


def latency(
    store: Store, layout: Plan, models: Sequence[str], undone: Collection[str]
) -> dict[str, Any] | None:
    """Return a bench as `Bench.to_dict` makes it, of the first network of each model; None without a baseline.

    A model whose first task failed is left out. Placebos and checkpoints have the baseline's graph and are not timed.
    """
    entries = []
    for model in models:
        tasks = [t for t in layout.predictions(model, "") if t.key not in undone]
        if tasks and not model.startswith(("placebo", "checkpoint")):
            artifact = read_artifacts(store, tasks[0].inputs[0])[0]
            entries.append(Entry(model, artifact.onnx, artifact.card, (Runtime(threads=1),)))
    if not entries or entries[0].name != BASELINE:
        return None
    key = digest(
        {
            "kind": "latency",
            "models": [[e.name, digest(e.onnx.hex())] for e in entries],
            "rounds": ROUNDS,
            "processor": processor(),
            "code": code_digest("fairpress.runtime"),
        }
    )
    found = store.get(key)
    if found is not None:
        return dict(json.loads(found.files[LATENCY]))
    bench = bench_all(entries, TABLE_BATCHES, rounds=ROUNDS).to_dict()
    store.put(key, {LATENCY: json.dumps(bench).encode()}, {"kind": "latency", "seconds": 0.0})
    return bench
