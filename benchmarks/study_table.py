"""A finished study of one dataset and one model as Markdown tables: recipes, and what every group loses.

``python benchmarks/study_table.py runs/faces`` after ``fairpress study run faces``. Points are percentage points of
accuracy; in brackets the study's interval over people and seeds; a loss is positive. With ``--latency bench.json``, the
output of ``fairpress bench … --json`` on exported networks, a table of times is added.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

PLACEBO = " against its placebo"


def recipes(audits: dict[str, Any], facts: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table of recipes."""
    first = _first(audits)
    size = {
        m: statistics.mean(f["bytes"] for f in facts if f["recipe"] == m)
        for m in dict.fromkeys(f["recipe"] for f in facts)
    }
    lines = [
        "| recipe | accuracy % | lost against fp32 | lost against its placebo | of 1,000: lose, gain | MB | smaller | "
        "verdict | against its placebo |",
        "|" + "---|" * 9,
    ]
    for model, told in first["models"].items():
        accuracy = told["overall"]["rates"]["accuracy"]
        cells = [f"`{model}`", f"{100 * accuracy['value']:.1f} [{_interval(accuracy)}]"]
        comparison = first["comparisons"].get(model)
        placebo = audits.get(f"{model}{PLACEBO}", {}).get("comparisons", {}).get(model)
        cells += [_loss(comparison), _loss(placebo)]
        if comparison is None:
            cells.append("")
        else:
            flips = comparison["overall"]["flips"]
            cells.append(
                f"{1000 * flips['right_to_wrong'] / flips['n']:.0f}, {1000 * flips['wrong_to_right'] / flips['n']:.0f}"
            )
        cells += [f"{size[model] / 1e6:.2f}", f"{size[first['baseline']] / size[model]:.2f}×"]
        cells += [_verdict(comparison), _verdict(placebo)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def groups(audits: dict[str, Any], attribute: str) -> list[str]:
    """Return the lines of the table of what each group of an attribute loses, each recipe against its fairest control."""
    first = _first(audits)
    against = {
        m: audits.get(f"{m}{PLACEBO}", first) for m in first["comparisons"] if not m.startswith("placebo")
    }
    found = {
        m: next(a for a in audit["comparisons"][m]["attributes"] if a["attribute"] == attribute)["groups"]
        for m, audit in against.items()
    }
    some = next(iter(found.values()))
    lines = [
        f"| {attribute} | rows | " + " | ".join(f"`{m}`" for m in found) + " |",
        "|" + "---|" * (len(found) + 2),
    ]
    for i, group in enumerate(some):
        cells = [", ".join(map(str, group["values"].values())), f"{group['n']:,.0f}"]
        for m in found:
            told = found[m][i]
            loss = next(x for x in told["losses"] if x["metric"] == "accuracy")
            word = "" if told["verdict"] in ("inconclusive", "not_estimable") else f" {told['verdict']}"
            cells.append(_points(loss["estimate"]) + word.replace("_", " "))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def times(bench: dict[str, Any]) -> list[str]:
    """Return the lines of the table of times per call."""
    batches = sorted({m["batch"] for m in bench["measurements"]})
    lines = [
        "| model | runtime | " + " | ".join(f"ms at batch {b} | times faster" for b in batches) + " |",
        "|" + "---|" * (2 + 2 * len(batches)),
    ]
    rows: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for m in bench["measurements"]:
        rows.setdefault((m["model"], m["runtime"]), {})[m["batch"]] = m
    for (model, runtime), found in rows.items():
        cells = [f"`{model}`", runtime]
        for b in batches:
            told = found[b]
            faster = told["speedup"]
            cells.append(f"{told['milliseconds']['median']:.2f}")
            cells.append(
                "" if faster is None else f"{faster['value']:.2f} [{faster['low']:.2f}, {faster['high']:.2f}]"
            )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _first(audits: dict[str, Any]) -> dict[str, Any]:
    return next(a for title, a in audits.items() if title.startswith("Compressed against the baseline"))


def _interval(estimate: dict[str, Any]) -> str:
    return f"{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}"


def _points(estimate: dict[str, Any]) -> str:
    if estimate.get("low") is None:
        return "not estimable"
    return f"{100 * estimate['value']:+.2f} [{100 * estimate['low']:.2f}, {100 * estimate['high']:.2f}]"


def _loss(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    return _points(next(x for x in comparison["overall"]["losses"] if x["metric"] == "accuracy")["estimate"])


def _verdict(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    word = str(comparison["verdict"]).replace("_", " ")
    return f"{word}, disparate" if comparison["disparate"] else word


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--latency", type=Path)
    asked = parser.parse_args()
    told = json.loads((asked.run / "audit.json").read_text())
    tables = [recipes(told, json.loads((asked.run / "models.json").read_text()))]
    tables += [groups(told, attribute) for attribute in _first(told)["attributes"]]
    if asked.latency is not None:
        tables.append(times(json.loads(asked.latency.read_text())))
    print("\n\n".join("\n".join(lines) for lines in tables))
