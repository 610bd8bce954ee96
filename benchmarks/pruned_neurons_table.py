"""What removed neurons and weights set to zero cost each group, from a finished study.

``python benchmarks/pruned_neurons_table.py runs/pruned-neurons`` after ``fairpress study run pruned-neurons``: changes of
accuracy, FNR and FPR against the placebo, in points, of everybody and of groups with at least 100 people, with 95 %
intervals over seeds and people, which are not corrected for their number; then the answers to the study's claims, which are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECIPES = ("prune-80", "prune-neurons-55", "prune-96", "prune-neurons-80")
METRICS = ("accuracy", "fnr", "fpr")
LEAST_ROWS = 100


def points(estimate: Mapping[str, Any]) -> str:
    """Return a change in points with its interval."""
    if estimate.get("value") is None or estimate.get("low") is None:
        return "–"
    value, low, high = (100 * estimate[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} [{low:.1f}, {high:.1f}]"


def changes(audits: Mapping[str, Any], recipe: str) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return (group, its people, its changes) of a recipe against its placebo, everybody first."""
    (comparison,) = audits[f"{recipe} against its placebo"]["comparisons"].values()
    every = [comparison["overall"], *(g for a in comparison["attributes"] for g in a["groups"])]
    return [
        (", ".join(group["values"].values()) or "everybody", f"{group['n']:,.0f}", group["changes"])
        for group in every
        if group["n"] >= LEAST_ROWS
    ]


def main() -> None:
    folder = Path(sys.argv[1])
    audits = json.loads((folder / "audit.json").read_text())
    print("| recipe | group | people | accuracy, points | FNR, points | FPR, points |")
    print("|---|---|---|---|---|---|")
    for recipe in RECIPES:
        for group, people, change in changes(audits, recipe):
            print(f"| `{recipe}` | {group} | {people} | {' | '.join(points(change[m]) for m in METRICS)} |")
    print("\n| claim | compared | effect, points | p, corrected | answer |")
    print("|---|---|---|---|---|")
    for answer in json.loads((folder / "claims.json").read_text()):
        claim = answer["claim"]
        against = claim.get("against", "baseline")
        other = against if isinstance(against, str) else against[0].removeprefix("recipe=")
        of = claim["of"][0].removeprefix("recipe=")
        print(
            f"| {claim['says']} | `{of}` − `{other}` | {points(answer['effect'])} | "
            f"{answer['p_adjusted']:.2g} | {answer['answer']} |"
        )


if __name__ == "__main__":
    main()
