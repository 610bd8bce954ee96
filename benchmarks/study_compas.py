"""Where the time of the COMPAS study goes: the whole study from nothing, then every recipe's parts on one batch.

    FAIRPRESS_DATA=… python benchmarks/study_compas.py [--parts-only | --study-only] [override …]

The study runs with two workers on an empty store. Printed are its seconds, and per recipe the processor seconds of its
compress and predict tasks (mean over batches, and the longest: the first of a process, which exports). The parts are seconds
of processor time for a batch of ten networks, in this process, of a second call: exports are done, as for all batches but a
worker's first.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fairpress import datasets
from fairpress.compression import apply, finetuning
from fairpress.compression.quantization import batch_quantizer, qat
from fairpress.compression.quantized_graph import onnx_template
from fairpress.compression.recipes import parse
from fairpress.models import registry
from fairpress.models.mlp import DEFAULT_WIDTHS
from fairpress.store.local import Store
from fairpress.studies.load import load
from fairpress.studies.run import run_study
from fairpress.training.fit import fit

WORKERS, NETWORKS = 2, 10
PARTS: dict[str, list[tuple[Any, str]]] = {
    "training": [(finetuning, "train_stack")],
    "of it ranges": [(qat.QATGraphs, "update_ranges")],
    "ranges": [(batch_quantizer, "calibrate")],
    "filling files": [(onnx_template.OnnxTemplate, "fill"), (apply, "artifact")],
    "checks": [(batch_quantizer, "check_file"), (batch_quantizer, "check_agreement")],
    "exports": [(batch_quantizer, "make_template"), (batch_quantizer.BatchQuantizer, "from_module")],
}


def study(overrides: list[str]) -> None:
    """Run the whole study and print the seconds of its tasks."""
    with tempfile.TemporaryDirectory() as folder:
        name, config = load("compas", overrides)
        started = time.perf_counter()
        done = run_study(name, config, out=Path(folder) / "compas", workers=WORKERS)
        whole = time.perf_counter() - started
        store = Store(Path(folder) / ".store")
        seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        for key in done.outcome.ran:
            task = done.tasks[key]
            seconds[task.kind, task.recipe].append(float((store.meta(key) or {})["processor_seconds"]))
    print(
        f"compas {' '.join(overrides)}: {len(done.outcome.ran)} tasks, {whole:.1f} s with {WORKERS} workers"
    )
    total = sum(map(sum, seconds.values()))
    print(f"{total:.1f} processor seconds in tasks, without what workers import\n")
    print("| kind | tasks | processor seconds | share |\n|---|---|---|---|")
    for kind in dict.fromkeys(k for k, _ in seconds):
        own = [s for (k, _), found in seconds.items() if k == kind for s in found]
        print(f"| {kind} | {len(own)} | {sum(own):.1f} | {sum(own) / total:.0%} |")
    print("\n| recipe | compress, mean s | longest s | predict, mean s |\n|---|---|---|---|")
    for kind, recipe in seconds:
        if kind in ("compress", "train"):
            own, told = seconds[kind, recipe], seconds["predict", recipe]
            print(f"| {recipe} | {sum(own) / len(own):.2f} | {max(own):.2f} | {sum(told) / len(told):.2f} |")


@contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Add up the processor time spent in the functions of `PARTS`."""
    real = [(holder, name, holder.__dict__[name]) for parts in PARTS.values() for holder, name in parts]

    def wrap(part: str, function: Any) -> Any:
        inner: Callable[..., Any] = getattr(function, "__func__", function)

        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            try:
                return inner(*args, **kwargs)
            finally:
                spent[part] += time.process_time() - started

        return classmethod(run) if isinstance(function, classmethod) else run

    for part, places in PARTS.items():
        for holder, name in places:
            setattr(holder, name, wrap(part, holder.__dict__[name]))
    try:
        yield
    finally:
        for holder, name, function in real:
            setattr(holder, name, function)


def parts(overrides: list[str]) -> None:
    """Compress one batch by every recipe of the study and print where its time goes."""
    torch.set_num_threads(1)
    _, config = load("compas", overrides)
    data = [datasets.load("compas", folds=5, fold=i % 5).development() for i in range(NETWORKS)]
    seeds, architecture = list(range(NETWORKS)), registry.get("mlp", widths=DEFAULT_WIDTHS)
    fit(architecture, data, seeds)
    started = time.process_time()
    bases = fit(architecture, data, seeds)
    print(f"\nprocessor seconds for {NETWORKS} networks, exports done; training from nothing takes ", end="")
    print(f"{time.process_time() - started:.1f}\n")
    print(f"| recipe | all | {' | '.join(PARTS)} |\n|---|---|{'---|' * len(PARTS)}")
    recipes = [parse(r) for r in config.recipes]
    recipes += [p for p in (r.placebo() for r in recipes) if p is not None]
    for name, recipe in {str(r): r for r in recipes}.items():
        apply.compress(bases, recipe, data, seeds)
        spent: dict[str, float] = defaultdict(float)
        with timed(spent):
            started = time.process_time()
            apply.compress(bases, recipe, data, seeds)
            whole = time.process_time() - started
        print(f"| {name} | {whole:.2f} | {' | '.join(f'{spent[p]:.2f}' for p in PARTS)} |", flush=True)


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    if "--parts-only" not in sys.argv:
        study(arguments)
    if "--study-only" not in sys.argv:
        parts(arguments)
