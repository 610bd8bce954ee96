"""A finished study's accuracy, gaps and rates of every group as Markdown tables, what a paper published beside them.

``python benchmarks/rates_tables.py runs/quantization-poster`` after ``fairpress study run quantization-poster``. In
brackets the study's intervals over people and seeds. ``--only-gaps`` leaves out the tables of groups, ``--name
TEXT=RECIPE`` writes something shorter for a recipe. What was published is that of the study's file (``published:``), and of
other data and groups where its note says so.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from study_table import sizes

from fairpress.reporting.paper_tables import GAPS, RATES

FIRST = "Compressed against the baseline"


def told(estimate: dict[str, Any] | None, factor: float, digits: int) -> str:
    """Return an estimate with its interval."""
    if estimate is None or estimate["value"] is None:
        return "not estimable"
    value = f"{factor * estimate['value']:.{digits}f}"
    if estimate.get("low") is None:
        return value
    return f"{value} [{factor * estimate['low']:.{digits}f}, {factor * estimate['high']:.{digits}f}]"


def gaps(audit: dict[str, Any], attribute: str, size: dict[str, float], theirs: dict[str, Any]) -> list[str]:
    """Return the table of accuracy, gaps between the groups of an attribute, and bytes."""
    found = {
        (f["model"], f["metric"]): f["estimate"] for f in audit["fairness"] if f["attribute"] == attribute
    }
    names = ["accuracy, %", *(f"{GAPS[g]} by {attribute}" for g in GAPS), "MB"]
    lines = [f"| | {' | '.join(names)} | published: accuracy, {', '.join(GAPS.values())}, MB |"]
    lines.append("|" + "---|" * (len(names) + 2))
    for model, result in audit["models"].items():
        own = theirs.get(model, {})
        cells = [told(result["overall"]["rates"]["accuracy"], 100, 1)]
        cells += [told(found.get((model, g)), 1, 3) for g in GAPS]
        cells += [f"{size[model] / 1e6:.2f}" if model in size else ""]
        published = [f"{100 * own['accuracy']:.2f}" if "accuracy" in own else "–"]
        published += [f"{own[g]:.2f}" if g in own else "–" for g in GAPS]
        published += [f"{own['kilobytes'] / 1000:.2f}" if "kilobytes" in own else "–"]
        cells.append(", ".join(published) if own else "")
        lines.append(f"| `{model}` | " + " | ".join(cells) + " |")
    return lines


def of_groups(audit: dict[str, Any], attribute: str, theirs: dict[str, Any]) -> list[list[str]]:
    """Return for accuracy, TPR and FPR the table of all models and groups of an attribute, then the published ones."""
    out = []
    for rate, word in RATES.items():
        rows: dict[str, dict[str, str]] = {}
        published: dict[str, dict[str, str]] = {}
        factor, digits = (100, 1) if rate == "accuracy" else (1, 3)
        for model, result in audit["models"].items():
            for group in result["groups"]:
                if list(group["values"]) == [attribute]:
                    rows.setdefault(model, {})[str(group["values"][attribute])] = told(
                        group["rates"].get(rate), factor, digits
                    )
            for group, rates in theirs.get(model, {}).get("groups", {}).items():
                if rate in rates:
                    value = f"{factor * rates[rate]:.{digits + (rate == 'accuracy')}f}"
                    published.setdefault(group, {})[model] = value
        names = list(next(iter(rows.values())))
        also = [f"published: {group}" for group in published]
        lines = [f"| {word}{', %' if rate == 'accuracy' else ''} | {' | '.join([*names, *also])} |"]
        lines.append("|" + "---|" * (len(names) + len(also) + 1))
        for m, cells in rows.items():
            told_there = [found.get(m, "") for found in published.values()]
            lines.append(f"| `{m}` | {' | '.join([*(cells[n] for n in names), *told_there])} |")
        out.append(lines)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--only-gaps", action="store_true")
    parser.add_argument("--name", action="append", default=[], metavar="TEXT=RECIPE")
    asked = parser.parse_args()
    audits = json.loads((asked.run / "audit.json").read_text())
    facts = json.loads((asked.run / "models.json").read_text())
    published = (
        YAML(typ="safe").load(json.loads((asked.run / "study.json").read_text())["study"]).get("published")
        or {}
    )
    tables: list[list[str]] = []
    for title, audit in audits.items():
        part, _, about = title.rpartition(" · ")
        if not about.startswith(FIRST):
            continue
        size = sizes([f for f in facts if f["part"] == part])
        rates = published.get("rates") or {}
        for attribute in audit["attributes"]:
            if part:
                tables.append([f"**{part}**"])
            tables.append(gaps(audit, attribute, size, rates.get(part, {}) if part else rates))
            if not asked.only_gaps:
                tables += of_groups(audit, attribute, rates.get(part, {}) if part else rates)
    text = "\n\n".join("\n".join(lines) for lines in tables)
    for name, _, recipe in (given.partition("=") for given in asked.name):
        text = text.replace(f"`{recipe}`", name)
    print(text)
