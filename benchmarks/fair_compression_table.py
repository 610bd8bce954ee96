"""Each fairness-aware recipe of a finished study beside its plain counterpart, as a Markdown table.

``python benchmarks/fair_compression_table.py runs/fair-compression --pair 'race=African-American|Caucasian'`` after
``fairpress study run fair-compression``. Recipes are also held against their placebo, and with ``--also RECIPE
OTHER`` against any other; ``--only-also`` leaves out the rest, ``--without age_group`` recipes whose names contain
that. Seconds are those that making the recipe took, divided by the networks that were made together: means over all
entries of that recipe in the store beside the run, which should be this study's own. Differences of rates are those
of the pair, which is to be fixed before any test row is looked at. In brackets: the change against the counterpart on
the same rows, with its interval over seeds × rows. The worst group is the worst on these rows, so that its loss is
overstated by that choice.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import fairpress as fp
from fairpress.compression.recipes import parse
from fairpress.store.local import Store
from fairpress.studies.report.write_folder import slug

RATES = {"selection_rate": "selection", "tpr": "TPR", "fpr": "FPR"}


def compared(table: Any, models: list[str], recipe: str, against: str, pair: str, positive: str) -> str:
    """Return one row of the table, without the bytes."""
    attribute = pair.partition("=")[0]
    seeds = "seed" if len(set(table["seed"].to_pylist())) > 1 else None
    audit = fp.audit(
        table.select([c for c in table.column_names if c in KEPT or c.partition(".score")[0] in (recipe, against)]),
        baseline=against, compressed=[recipe], by=[attribute], positive=positive, seed_column=seeds, pairs=[pair],
    ).to_dict()  # fmt: skip
    found = audit["comparisons"][recipe]
    (fixed,) = found["pairs"]
    flips = found["overall"]["flips"]
    losses = [
        group["changes"]["accuracy"]
        for a in found["attributes"]
        for group in a["groups"]
        if group["verdict"] != "not_estimable"
    ]
    worst = min((c for c in losses if c["value"] is not None), key=lambda c: c["value"])
    accuracy = audit["models"][recipe]["overall"]["rates"]["accuracy"]["value"]
    cells = [
        f"{100 * accuracy:.1f} ({_change(found['overall']['changes']['accuracy'])})",
        _change({k: -worst[j] for k, j in (("value", "value"), ("low", "high"), ("high", "low"))}),
        *(
            f"{100 * fixed['after'][rate]['value']:+.1f} ({_change(fixed['changes'][rate])})"
            for rate in RATES
        ),
        f"{1000 * (flips['right_to_wrong'] + flips['wrong_to_right']) / flips['n']:.0f}",
    ]
    words = [f"{name} {_word(fixed['after'][rate], fixed['changes'][rate])}" for rate, name in RATES.items()]
    return " | ".join([f"`{recipe}`", f"`{against}`", *cells, ", ".join(words)])


def _change(estimate: dict[str, Any]) -> str:
    if estimate.get("low") is None:
        return "not estimable"
    return f"{100 * estimate['value']:+.1f} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"


def _word(after: dict[str, Any], change: dict[str, Any]) -> str:
    """Say whether the difference came nearer to 0, as far as its interval says."""
    if change.get("low") is None or change["low"] <= 0 <= change["high"]:
        return "undecided"
    before = after["value"] - change["value"]
    if before * after["value"] < 0:
        return "turned round"
    return "smaller" if abs(after["value"]) < abs(before) else "larger"


def counterparts(recipe: str) -> list[str]:
    """Return what a recipe is held against: itself without what it does for fairness, and then its placebo."""
    bare, repaired, _ = recipe.partition(">")
    if repaired:
        return [bare]
    plain, placebo = parse(bare).plain(), parse(bare).placebo()
    return list(dict.fromkeys(map(str, filter(None, (plain, placebo if plain else None)))))


def seconds_of(folder: Path) -> dict[str, float]:
    """Return recipe → seconds a network that the tasks of a store took to make it."""
    took: dict[str, list[float]] = {}
    for meta in Store(folder).metas() if folder.is_dir() else ():
        if meta.get("kind") == "compress":
            networks = meta["networks"]
            count = networks if isinstance(networks, int) else len(networks)
            took.setdefault(meta["recipe"], []).append(meta["seconds"] / count)
    return {recipe: statistics.mean(found) for recipe, found in took.items()}


KEPT = {"row_id", "subject", "label", "seed", "fold"}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--pair", required=True)
    parser.add_argument("--part", default="", help="of a study of several models: the model")
    parser.add_argument("--also", nargs=2, action="append", default=[], metavar=("RECIPE", "OTHER"))
    parser.add_argument("--only-also", action="store_true")
    parser.add_argument("--without", action="append", default=[], metavar="TEXT")
    asked = parser.parse_args()
    predicted = f"predictions/{slug(asked.part)}.parquet" if asked.part else "predictions.parquet"
    table = pq.read_table(asked.run / predicted)
    facts = [f for f in json.loads((asked.run / "models.json").read_text()) if f["part"] == asked.part]
    size: dict[str, list[int]] = {f["recipe"]: [] for f in facts}
    for f in facts:
        size[f["recipe"]].append(f["bytes"])
    KEPT |= {asked.pair.partition("=")[0]}
    positive = next(iter(json.loads((asked.run / "audit.json").read_text()).values()))["positive"]
    print(
        "recipe | against | accuracy % | worst group loses | selection | TPR | FPR | of 1,000 flip | differences | bytes | "
        "seconds"
    )
    print("|".join(["---"] * 11))
    # The store does not say of which model an entry is.
    seconds = {} if asked.part else seconds_of(asked.run.parent / ".store")
    pairs = [] if asked.only_also else [(recipe, other) for recipe in size for other in counterparts(recipe)]
    pairs = [(r, o) for r, o in pairs if not any(text in r for text in asked.without)]
    also = [(str(parse(recipe)), str(parse(other))) for recipe, other in asked.also]
    unknown = {name for pair in also for name in pair} - set(size)
    if unknown:
        parser.error(f"the study has no recipe {', '.join(sorted(unknown))}")
    pairs += also
    for recipe, other in pairs:
        if other in size:
            row = compared(table, list(size), recipe, other, asked.pair, positive)
            took = f"{seconds[recipe]:.1f}" if recipe in seconds else ""
            print(f"{row} | {statistics.mean(size[recipe]):,.0f} | {took}", flush=True)
