"""How many answers change when training goes towards the labels, the baseline or both: COMPAS, mlp.

python benchmarks/towards_baseline.py [networks] [recipe …]

Per recipe: flips of 1,000 test rows, mean of the networks and its 95 % interval (Student's t over networks, so that of
training, not that of the test rows); the race that flips most, of those with at least 100 test rows; accuracy.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.stats import t

from fairpress import datasets
from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.models.mlp import Mlp
from fairpress.runtime.backends.onnxruntime import run
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit

LEAST = 100
TOWARDS = ("labels", "baseline", "both")
DEFAULT = (
    *(f"placebo(towards={towards})" for towards in TOWARDS),
    *(
        recipe
        for bits in (4, 2)
        for recipe in (
            f"int{bits}",
            f"int{bits}(rounding=gptq)",
            *(f"qat-int{bits}(towards={towards})" for towards in TOWARDS),
            *(f"qat-int{bits}(towards={towards},start=gptq)" for towards in TOWARDS),
        )
    ),
    *(f"qat-int2(towards={towards},epochs=40)" for towards in ("labels", "baseline")),
    "qat-int2(towards=baseline,start=gptq,epochs=40)",
)


def main(networks: int, recipes: tuple[str, ...]) -> None:
    data = [datasets.load("compas", on_message=lambda _: None)] * networks
    seeds = list(range(networks))
    bases = fit(Mlp(), data, seeds, FitConfig())
    rows = data[0].part("test")
    race = rows.attributes["race"]
    groups = [g for g in np.unique(race) if (race == g).sum() >= LEAST]
    before = [run(a.onnx, rows.inputs).argmax(1) for a in bases]
    accuracy = np.mean([p == rows.labels for p in before])
    print(f"{networks} networks, {len(race)} test rows; accuracy of the baselines {100 * accuracy:.1f} %\n")
    print("| recipe | flips of 1,000 | most, race | accuracy % |\n|---|---|---|---|")
    for text in recipes:
        created = compress(bases, parse(text), data, seeds)
        after = [run(a.onnx, rows.inputs).argmax(1) for a in created]
        flips = 1000 * np.array([a != b for a, b in zip(after, before, strict=True)])
        each = flips.mean(1)
        half = t.ppf(0.975, networks - 1) * each.std(ddof=1) / np.sqrt(networks)
        worst, name = max((float(flips[:, race == g].mean()), str(g)) for g in groups)
        right = 100 * np.mean([p == rows.labels for p in after])
        interval = f"{each.mean():.1f} [{max(0.0, each.mean() - half):.1f}, {each.mean() + half:.1f}]"
        print(f"| `{parse(text)}` | {interval} | {worst:.1f}, {name} | {right:.1f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, tuple(sys.argv[2:]) or DEFAULT)
