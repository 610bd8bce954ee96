"""Train and quantize networks as one batch against one by one: ``python benchmarks/networks_together.py [N]``.

Both ways run in this process on the same data, after one warm-up that imports and exports. Prints seconds and their ratio.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from fairpress import datasets
from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.models import registry
from fairpress.models.mlp import DEFAULT_WIDTHS
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit


def seconds(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(count: int) -> None:
    """Measure `count` networks."""
    torch.set_num_threads(1)
    folds = [datasets.load("compas", folds=5, fold=i % 5).development() for i in range(count)]
    seeds, architecture, config = list(range(count)), registry.get("mlp", widths=DEFAULT_WIDTHS), FitConfig()
    bases = fit(architecture, folds, seeds, config)
    recipe = parse("int8")
    compress(bases[:1], recipe, folds[:1], seeds[:1])
    rows = {
        "train": (
            lambda: fit(architecture, folds, seeds, config),
            lambda: [fit(architecture, [d], [s], config) for d, s in zip(folds, seeds, strict=True)],
        ),
        "int8": (
            lambda: compress(bases, recipe, folds, seeds),
            lambda: [compress([b], recipe, [d], [s]) for b, d, s in zip(bases, folds, seeds, strict=True)],
        ),
    }
    print(f"| {count} networks, one thread | together, s | one by one, s | ratio |\n|---|---|---|---|")
    for name, (together, alone) in rows.items():
        a, b = seconds(together), seconds(alone)
        print(f"| {name} | {a:.1f} | {b:.1f} | {b / a:.1f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
