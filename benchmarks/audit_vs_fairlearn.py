"""The whole audit against fairlearn's bootstrap, paired in one run: ``python benchmarks/audit_vs_fairlearn.py [ROWS]``.

10⁵ rows, 4 groups, accuracy, selection rate, TPR and FPR. fairlearn: `MetricFrame` with 100 bootstrap replicates, of one
model. fairpress: the whole audit of a baseline and a compressed model, and beside it the paired bootstrap of the same cells
with 10,000 replicates. Prints seconds, seconds a replicate, and ratios.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib import metadata

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score

from fairpress.auditing.audit import audit
from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.metrics.rates import BASELINE, COMPRESSED, confusion, rate
from fairpress.core.attribute import Attribute

OURS, THEIRS = 10_000, 100
RATES = ("accuracy", "selection_rate", "tpr", "fpr")


def draw(cells: np.ndarray, rng: np.random.Generator, replicates: int) -> np.ndarray:
    """Return replicates [replicates, groups, 2, 2, 2] of cells, multinomial within each group and label."""
    flat = cells.reshape(-1, 2, 4)
    p = (flat + 0.5) / (flat.sum(-1, keepdims=True) + 2)
    size = flat.sum(-1).astype(np.int64)
    return rng.multinomial(size, p, size=(replicates, *size.shape)).reshape(replicates, *cells.shape)


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Return the best wall-clock seconds of some calls."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return float(best)


def table(rows: int) -> pd.DataFrame:
    """Return a table of predictions with 4 groups."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    a = np.where(rng.random(rows) < 0.1, 1 - y, y)
    b = np.where(rng.random(rows) < 0.02, 1 - a, a)
    return pd.DataFrame({"label": y, "group": rng.choice(list("abcd"), rows), "fp32": a, "int8": b})


def bootstrap(frame: pd.DataFrame) -> np.ndarray:
    """Return the changes [rates, replicates, groups] of the four rates in 10,000 replicates, from the rows on."""
    by = Attribute(("group",))
    cells = count(TableSource(frame), label="label", models=["fp32", "int8"], by=[by])
    drawn = draw(cells.pair("fp32", "int8", cells.grouping(by)), np.random.default_rng(0), OURS)
    before, after = (confusion(drawn, model) for model in (BASELINE, COMPRESSED))
    return np.stack([rate(after, r).value - rate(before, r).value for r in RATES])


def main(rows: int) -> None:
    """Measure."""
    frame = table(rows)
    metrics = {
        "accuracy": accuracy_score,
        "selection rate": selection_rate,
        "TPR": true_positive_rate,
        "FPR": false_positive_rate,
    }

    def theirs() -> object:
        return MetricFrame(
            metrics=metrics,
            y_true=frame["label"],
            y_pred=frame["int8"],
            sensitive_features=frame["group"],
            n_boot=THEIRS,
            ci_quantiles=[0.025, 0.975],
        )

    def ours() -> object:
        return audit(frame, baseline="fp32", compressed=["int8"], by=["group"])

    ours(), bootstrap(frame)
    whole, replicated = seconds(ours, 5), seconds(lambda: bootstrap(frame), 5)
    peer = seconds(theirs)
    print(f"{rows:,} rows, 4 groups, 4 metrics; fairlearn {metadata.version('fairlearn')}\n")
    print("| | seconds | replicates | microseconds a replicate |\n|---|--:|--:|--:|")
    print(f"| fairlearn MetricFrame, one model | {peer:.2f} | {THEIRS} | {1e6 * peer / THEIRS:,.0f} |")
    print(f"| fairpress, whole audit of a pair | {whole:.3f} | closed forms; 2,000 for PPV, NPV | |")
    print(
        f"| fairpress, paired bootstrap from the rows | {replicated:.3f} | {OURS:,} | {1e6 * replicated / OURS:,.1f} |"
    )
    both = whole + replicated
    print(f"\nfairlearn / (whole audit + {OURS:,} replicates) = {peer / both:,.0f}")
    print(f"per replicate: {peer / THEIRS / (replicated / OURS):,.0f} times")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
