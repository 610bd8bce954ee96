"""Audits of many groups, models and seeds, whole processes beside peers: ``python benchmarks/many_groups.py [table …]``.

Every command is a process of its own, imports included, and is measured in processor seconds (user and system), which other
work on the machine lengthens far less than the clock's. Commands take turns, and the median and the range of some rounds are
printed, with the machine's load before and after. The peers do less: fairlearn's `MetricFrame` has the same four rates of
100 groups of one model, with intervals from 10 bootstrap replicates of the rows; scipy bootstraps the change of one mean
score in each of 100 groups, with 1,000 replicates. There is none for seeds, nor for the HTML.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

MODELS, MANY_MODELS, GROUPS, SEEDS = 10, 50, 100, 20

FAIRPRESS = "import sys; from fairpress.cli import main; sys.argv[0] = 'fairpress'; main()"
FAIRLEARN = """
import sys, pandas as pd
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score
table = pd.read_parquet(sys.argv[1])
metrics = {"accuracy": accuracy_score, "selection rate": selection_rate, "TPR": true_positive_rate,
           "FPR": false_positive_rate}
frame = MetricFrame(metrics=metrics, y_true=table["label"], y_pred=table["m0"], sensitive_features=table["group"],
                    n_boot=int(sys.argv[2]), ci_quantiles=[.025, .975])
frame.by_group_ci
"""
SCIPY = """
import sys, pandas as pd
from scipy.stats import bootstrap
table = pd.read_parquet(sys.argv[1])
for _, rows in table.groupby("group"):
    bootstrap((rows["m0.score"].to_numpy() - rows["base.score"].to_numpy(),), lambda x, axis: x.mean(axis=axis),
              n_resamples=1000, method="percentile", vectorized=True, rng=0)
"""


def flipped(rng: np.random.Generator, x: np.ndarray, share: float) -> np.ndarray:
    """Return 0 and 1 with a share of them exchanged."""
    return np.where(rng.random(x.size) < share, 1 - x, x)


def predictions(rng: np.random.Generator, label: np.ndarray, models: int) -> dict[str, np.ndarray]:
    """Return the columns of a baseline and of compressed models, which flip 2 % of its predictions."""
    base = flipped(rng, label, 0.1)
    return {"base": base, **{f"m{i}": flipped(rng, base, 0.02) for i in range(models)}}


def people(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Return the columns of labels, sex and race."""
    return {
        "label": rng.integers(0, 2, rows),
        "sex": rng.choice(["Female", "Male"], rows),
        "race": rng.choice(["A", "B", "C", "D", "E"], rows),
    }


def runs(rng: np.random.Generator, rows: int, models: int) -> pd.DataFrame:
    """Return the rows of all seeds, stacked."""
    same = people(rng, rows)
    each = [
        {
            "seed": np.full(rows, s),
            "row_id": np.arange(rows),
            **same,
            **predictions(rng, same["label"], models),
        }
        for s in range(SEEDS)
    ]
    return pd.concat([pd.DataFrame(run) for run in each])


def tables(names: list[str], folder: Path) -> Iterator[tuple[str, Path]]:
    """Write the tables and yield their names and places."""
    for name in names:
        rng, rows = np.random.default_rng(0), 100_000
        group = np.char.add("g", rng.integers(0, GROUPS, rows).astype(str))
        label = rng.integers(0, 2, rows)
        match name:
            case "groups":
                table = pd.DataFrame({"label": label, "group": group, **predictions(rng, label, MODELS)})
            case "scores":
                base = np.clip(0.3 * label + 0.35 + rng.normal(0, 0.2, rows), 0, 1)
                score = {f"m{i}.score": np.clip(base + rng.normal(0, 0.02, rows), 0, 1) for i in range(3)}
                table = pd.DataFrame({"label": label, "group": group, "base.score": base, **score})
            case "seeds":
                table = runs(rng, 5_000, MODELS)
            case "rows":
                table = runs(rng, 1_000_000 // SEEDS, 1)
            case _:
                some = people(rng, 20_000)
                table = pd.DataFrame({**some, **predictions(rng, some["label"], MANY_MODELS)})
        path = folder / f"{name}.parquet"
        table.to_parquet(path, index=False)
        yield name, path


def commands(name: str, path: Path) -> dict[str, list[str]]:
    """Return what is measured of a table: description → arguments of Python."""

    def audit(models: int, *options: str) -> list[str]:
        names = ",".join(f"m{i}" for i in range(models))
        return ["-c", FAIRPRESS, "audit", str(path), "--baseline", "base", "--compressed", names, *options]

    match name:
        case "groups":
            return {
                f"{GROUPS} groups × {MODELS} models, 100,000 rows": audit(MODELS, "--by", "group"),
                "fairlearn, 1 model, 10 replicates of the bootstrap": ["-c", FAIRLEARN, str(path), "10"],
            }
        case "scores":
            return {
                f"scores of 4 models, {GROUPS} groups, 100,000 rows": audit(
                    3, "--by", "group", "--positive", "1"
                ),
                "SciPy, one change of a mean score per group": ["-c", SCIPY, str(path)],
            }
        case "seeds":
            options = ("--by", "sex,race", "--seed-column", "seed")
            return {f"{SEEDS} seeds × {MODELS} models, 5,000 rows each": audit(MODELS, *options)}
        case "rows":
            options = ("--by", "sex,race", "--seed-column", "seed")
            return {f"{SEEDS} seeds × 1 model, 1,000,000 rows in all": audit(1, *options)}
    page = str(path.with_suffix(".html"))
    return {
        f"{MANY_MODELS} models, 20,000 rows": audit(MANY_MODELS, "--by", "sex,race"),
        "the same with --html": audit(MANY_MODELS, "--by", "sex,race", "--html", page, "--force"),
    }


def processor_seconds(arguments: list[str]) -> tuple[float, float]:
    """Return the processor seconds of a process and its peak MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # An installed package has its byte code, whatever this machine has set.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode not in (0, 1):  # 1: harm
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_maxrss / 1024


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=["groups", "scores", "seeds", "rows", "html"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        work: Mapping[str, list[str]] = {
            description: arguments
            for name, path in tables(options.tables, Path(folder))
            for description, arguments in commands(name, path).items()
        }
        found: dict[str, list[float]] = {description: [] for description in work}
        for _ in range(options.rounds):
            for description, arguments in work.items():
                found[description].append(processor_seconds(arguments)[0])
    print(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} cores\n")
    print(
        f"| whole process, {options.rounds} rounds in turns | processor seconds, median | range |\n|---|--:|--:|"
    )
    for description, seconds in found.items():
        print(f"| {description} | {statistics.median(seconds):.2f} | {min(seconds):.2f}–{max(seconds):.2f} |")


if __name__ == "__main__":
    main()
