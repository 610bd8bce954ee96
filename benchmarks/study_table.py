"""A finished study as Markdown tables: recipes, and what every group loses.

``python benchmarks/study_table.py runs/faces`` after ``fairpress study run faces``. Points are percentage points of
accuracy; in brackets the study's interval over people and seeds; a loss is positive. With ``--latency bench.json``, the
output of ``fairpress bench … --json`` on exported networks, a table of times is added.

``--brief`` prints one table for each part of a study, such as an architecture, with the worst group of every attribute
(the worst on these rows, so that its loss is overstated by that choice) and, where ``--latency`` names them, the
milliseconds a row at the smallest batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from fairpress.reporting.formatting import WORD
from fairpress.studies.report.write_folder import slug

PLACEBO = " against its placebo"


def sizes(facts: list[dict[str, Any]]) -> dict[str, float]:
    """Return recipe → bytes of the file, mean over networks."""
    return {
        m: statistics.mean(f["bytes"] for f in facts if f["recipe"] == m)
        for m in dict.fromkeys(f["recipe"] for f in facts)
    }


def recipes(audits: dict[str, Any], facts: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table of recipes."""
    first = _first(audits)
    size = sizes(facts)
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
        cells.append(_flips(comparison))
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
            word = "" if told["verdict"] in ("inconclusive", "not_estimable") else f" {WORD[told['verdict']]}"
            cells.append(_points(loss["estimate"]) + word)
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


def brief(
    audits: dict[str, Any], facts: list[dict[str, Any]], took: dict[str, dict[str, float]]
) -> list[str]:
    """Return one table of a part: accuracy, flips, the worst group of each attribute, bytes and milliseconds."""
    first = _first(audits)
    runtimes = list(dict.fromkeys(runtime for found in took.values() for runtime in found))
    lines = [
        "| recipe | accuracy % | lost | lost compared with its placebo | of 1,000: lose, gain | "
        + " | ".join(f"worst by {a}" for a in first["attributes"])
        + " | MB | smaller | "
        + "".join(f"ms, {runtime} | " for runtime in runtimes)
        + "verdict |",
        "|" + "---|" * (8 + len(first["attributes"]) + len(runtimes)),
    ]
    size = sizes(facts)
    for model, told in first["models"].items():
        if model.startswith("placebo"):
            continue
        c = first["comparisons"].get(model)
        placebo = audits.get(f"{model}{PLACEBO}", {}).get("comparisons", {}).get(model)
        cells = [
            f"`{model}`",
            f"{100 * told['overall']['rates']['accuracy']['value']:.1f}",
            _loss(c),
            _loss(placebo),
        ]
        cells.append(_flips(c))
        cells += [_worst(c, a) for a in first["attributes"]]
        cells += [f"{size[model] / 1e6:.2f}", f"{size[first['baseline']] / size[model]:.1f}×"]
        cells += [f"{took[model][r]:.2f}" if r in took.get(model, {}) else "" for r in runtimes]
        lines.append("| " + " | ".join([*cells, _verdict(c)]) + " |")
    return lines


def milliseconds(benches: list[dict[str, Any]], names: dict[str, str]) -> dict[str, dict[str, float]]:
    """Return recipe → runtime → milliseconds at the smallest batch; `names` are the exported folders of the recipes."""
    found: dict[str, dict[str, float]] = {}
    for bench in benches:
        least = min(m["batch"] for m in bench["measurements"])
        for m in bench["measurements"]:
            recipe = names.get(Path(m["model"]).name)
            if recipe is not None and m["batch"] == least:
                found.setdefault(recipe, {})[m["runtime"]] = m["milliseconds"]["median"]
    return found


def _flips(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    flips = comparison["overall"]["flips"]
    return ", ".join(f"{1000 * flips[k] / flips['n']:.0f}" for k in ("right_to_wrong", "wrong_to_right"))


def _worst(comparison: dict[str, Any] | None, attribute: str) -> str:
    if comparison is None:
        return ""
    (found,) = (a for a in comparison["attributes"] if a["attribute"] == attribute)
    told = [
        (next(x["estimate"] for x in g["losses"] if x["metric"] == "accuracy"), g)
        for g in found["groups"]
        if g["verdict"] != "not_estimable"
    ]
    if not told:
        return WORD["not_estimable"]
    estimate, group = max(told, key=lambda pair: pair[0]["value"])
    return f"{', '.join(map(str, group['values'].values()))} {_points(estimate)}"


def _first(audits: dict[str, Any]) -> dict[str, Any]:
    return next(a for title, a in audits.items() if title.startswith("Compressed against the baseline"))


def _interval(estimate: dict[str, Any]) -> str:
    return f"{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}"


def _points(estimate: dict[str, Any]) -> str:
    if estimate.get("low") is None:
        return WORD["not_estimable"]
    return f"{100 * estimate['value']:+.2f} [{100 * estimate['low']:.2f}, {100 * estimate['high']:.2f}]"


def _loss(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    return _points(next(x for x in comparison["overall"]["losses"] if x["metric"] == "accuracy")["estimate"])


def _verdict(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    word = WORD[comparison["verdict"]]
    return f"{word}; uneven" if comparison["disparate"] else word


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--latency", type=Path, nargs="+", default=[])
    parser.add_argument("--brief", action="store_true")
    asked = parser.parse_args()
    told = json.loads((asked.run / "audit.json").read_text())
    facts = json.loads((asked.run / "models.json").read_text())
    benches = [json.loads(path.read_text()) for path in asked.latency]
    tables = []
    for part in dict.fromkeys(f["part"] for f in facts):
        audits = {t.removeprefix(f"{part} · "): a for t, a in told.items() if t.rpartition(" · ")[0] == part}
        own = [f for f in facts if f["part"] == part]
        if asked.brief:
            names = {slug(f"{f['recipe']} {part}".strip()): f["recipe"] for f in own}
            heading = [f"**{part}**", ""] if part else []
            tables.append(heading + brief(audits, own, milliseconds(benches, names)))
        else:
            tables += [recipes(audits, own), *(groups(audits, a) for a in _first(audits)["attributes"])]
    if not asked.brief:
        tables += [times(bench) for bench in benches]
    print("\n\n".join("\n".join(lines) for lines in tables))
