"""The old and the new decision rule on the same predictions: a study's folder, recipe by recipe.

    python benchmarks/decisions_compas.py runs/compas

The old rule, that of the versions before 2026-11-30, asked for "no harm" in accuracy, TPR and FPR alike, at one margin, of
every group with the rows at which even zero flips would do (115 at two points), and tested a harm by the same interval; the
verdict of a group was the worst of its three. The new verdicts are those in the folder's audit.json. Both judge the
predictions of predictions.parquet by the same estimator, which takes seeds and people as random.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.read_table import AuditInput, read_table
from fairpress.auditing.result import Verdict
from fairpress.auditing.verdicts.rules import (
    WORST_FIRST,
    artifact_verdict,
    floor_rows,
    judge,
    run_tests,
)
from fairpress.auditing.verdicts.wording import points_down, points_up
from fairpress.core.attribute import OVERALL

METRICS = ("accuracy", "tpr", "fpr")
ERROR = {"accuracy": "error", "tpr": "FNR", "fpr": "FPR"}


def old_verdict(data: AuditInput, name: str, margin: float = 0.02) -> tuple[Verdict, int, int]:
    """Return the verdict of the old rule, and how many of its tests of judged groups ended in "no harm", of how many."""
    options, cells = data.options, data.table.cells
    evidence = SeedGroupEstimator(cells, data.table.name)
    family = {}
    for attribute in (OVERALL, *data.attributes):
        for metric in METRICS:
            query = (name, data.baseline, metric, cells.grouping(attribute))
            change = evidence.change(*query)
            loss = change if LOSS_SIGN[metric] > 0 else -change
            tested = run_tests(loss, evidence.flip_share(*query), margin, options.confidence)
            family[attribute, metric] = replace(tested, p_harm=loss.p_above(margin))
    judged = {key: x.verdict for key, x in judge(family, options.confidence).items()}
    groups = [
        min((judged[attribute, metric][g] for metric in METRICS), key=WORST_FIRST.index)
        for attribute in data.attributes
        for g in range(len(judged[attribute, METRICS[0]]))
    ]
    overall = min((judged[OVERALL, metric][0] for metric in METRICS), key=WORST_FIRST.index)
    everything = np.concatenate([x for (a, _), x in judged.items() if a != OVERALL])
    tests = int((everything != "not_estimable").sum())
    return artifact_verdict(overall, groups), int((everything == "no_harm").sum()), tests


def read(folder: Path, audit: Mapping[str, Any]) -> AuditInput:
    """Read the predictions of the models of one audit."""
    options = AuditOptions(
        baseline=audit["baseline"],
        compressed=list(audit["comparisons"]),
        by=audit["attributes"],
        positive=audit["positive"],
        margin=audit["margin"],
        confidence=audit["confidence"],
        seed_column="seed",
    )
    return read_table(pq.read_table(folder / "predictions.parquet"), options)


def group(named: Mapping[str, Any] | None) -> str:
    """Return the name of the group of a bound, or of a pool."""
    if named is None:
        return ""
    if named.get("members"):
        return f"{next(iter(named['members'][0]))} pool"
    values = named.get("values", named)
    return " · ".join(values.values()) if values else "everybody"


def bounds(content: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return X of the error that decides, Y, X of the most open other error, and the share of people cleared."""
    first, *others = content["bounds"]
    worst = max(others, key=lambda b: b["upper"] or 0.0)
    lower = next((b for b in content["bounds"] if b["lower"] is not None), None)
    upper = f"{points_up(first['upper'])} {group(first['upper_group'])}"
    shown = "–"
    if lower is not None:
        error = "" if lower is first else f"{ERROR[lower['metric']]} "
        shown = f"{error}{points_down(lower['lower'])} {group(lower['lower_group'])}"
    other = f"{ERROR[worst['metric']]} {points_up(worst['upper'])} {group(worst['upper_group'])}"
    return upper, shown, other, f"{first['cleared']:.0%}"


def all_cleared(content: Mapping[str, Any]) -> bool:
    """Return whether X is below the margin in all three errors."""
    return all(b["upper"] is not None and b["upper"] < b["margin"]["value"] for b in content["bounds"])


def main(folder: Path) -> None:
    audits = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    print(f"old rule: groups with at least {floor_rows()} rows at a margin of two points\n")
    head = (
        "recipe",
        "against",
        "old rule",
        "old tests cleared",
        "new rule",
        "X",
        "Y",
        "most open other error",
        "cleared",
    )
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    counts: dict[str, list[tuple[bool, bool, bool]]] = {}
    for audit in audits.values():
        data = read(folder, audit)
        against = "placebo" if audit["baseline"].startswith("placebo") else audit["baseline"]
        for name, content in audit["comparisons"].items():
            old, passed, tests = old_verdict(data, name, audit["margin"])
            cells = (name, against, old, f"{passed} of {tests}", content["verdict"], *bounds(content))
            print(f"| {' | '.join(cells)} |", flush=True)
            new = content["verdict"] == "no_harm"
            counts.setdefault(against, []).append((old == "no_harm", new, all_cleared(content)))
    for against, passes in counts.items():
        old, new, every = (sum(column) for column in zip(*passes, strict=True))
        print(
            f"\nno harm against {against}, of {len(passes)}: {old} by the old rule, {new} by the new one; X below the "
            f"margin in all three errors: {every}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
