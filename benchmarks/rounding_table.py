"""How many answers each recipe of a finished study changes, of everybody and of the group in which most change.

``python benchmarks/rounding_table.py runs/rounding`` after ``fairpress study run rounding``, or several folders, whose
networks are stacked where they are of one architecture; recipes that not all seeds have are left out. Flips are of 1,000
rows, in brackets the 95 % interval over seeds and rows; over rows alone where there is one seed. The worst group is the
worst on these rows among those with at least 100, so that it is overstated by that choice. *taken back* is the share of the
flips of rounding to nearest that the recipe avoids, with Fieller's interval: 50 % halves them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fairpress.compression.recipes import Recipe, parse
from fairpress.compression.steps.equalize import Equalize
from fairpress.compression.steps.quantize import Quantize
from fairpress.core.estimate import Estimate
from fairpress.studies.analysis.claims.effect import measure_effect
from fairpress.studies.config.claims import Claim
from fairpress.studies.planning.claim_trials import ClaimTrials
from fairpress.studies.report.write_folder import slug

LEAST_ROWS = 100


def measured(table: pa.Table, quantity: str, recipe: str, by: str, against: str | None = None) -> Estimate:
    """Return a quantity of a recipe, or the share of that of `against` that it takes back."""
    share = {} if against is None else {"against": f"recipe={against}", "recovers": 0.5}
    claim = Claim(says="…", of=f"recipe={recipe}", quantity=quantity, by=by, **share)
    effect = {("", recipe): 1.0}
    if against is not None:
        effect = {("", against): 1.0, ("", recipe): -1.0}
    lost = {} if against is None else {("", against): 1.0}
    found = measure_effect(
        claim,
        ClaimTrials(effect, lost, by),
        {"": table},
        positive=None,
        people=False,
        folds=1,
        confidence=0.95,
    )
    return found.effect


def told(estimate: Estimate, factor: float = 1000.0, digits: int = 1) -> str:
    """Return an estimate with its interval."""
    if estimate.value is None:
        return "–"
    text = f"{factor * estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{factor * estimate.low:.{digits}f}, {factor * estimate.high:.{digits}f}]"


def worst_group(table: pa.Table, recipe: str, by: str) -> str:
    """Return the group in which most answers change, and how many."""
    seeds = len(set(table["seed"].to_pylist()))
    parts = {g: table.filter(pc.equal(table[by], g)) for g in sorted(set(table[by].to_pylist()))}
    found = {
        g: measured(part, "flips", recipe, by)
        for g, part in parts.items()
        if part.num_rows / seeds >= LEAST_ROWS
    }
    worst = max(found, key=lambda g: found[g].value or 0.0)
    return f"{worst} {told(found[worst])}"


def nearest(recipe: str) -> str | None:
    """Return the same recipe rounded to nearest, without equalization and bias correction.

    None for that recipe itself, and for those that weigh groups.
    """
    if "moments" in recipe:
        return None
    steps = []
    for step in parse(recipe).steps:
        if isinstance(step, Quantize):
            step = step.model_copy(update={"rounding": "nearest", "bias_correction": False})
        if not isinstance(step, Equalize):
            steps.append(step)
    other = str(Recipe(tuple(steps)))
    return None if other == recipe else other


def lines(table: pa.Table, size: dict[str, float], by: list[str]) -> list[str]:
    """Return the rows of one table."""
    names = [n for n in table.column_names if n in size]
    worst = [f"flips, worst by {a}" for a in by]
    heads = ["recipe", "accuracy %", "points lost", "flips", *worst, "taken back, %", "KB", "smaller"]
    found = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    label = table["label"].to_pylist()
    for name in names:
        right = statistics.mean(a == b for a, b in zip(table[name].to_pylist(), label, strict=True))
        cells = ["`" + name.replace("|", r"\|") + "`", f"{100 * right:.1f}"]
        if name == "fp32":
            cells += [""] * (3 + len(by))
        else:
            cells += [told(measured(table, "loss", name, by[0]), 100, 2)]
            cells += [told(measured(table, "flips", name, by[0]))]
            cells += [worst_group(table, name, a) for a in by]
            other = nearest(name)
            cells += [told(measured(table, "flips", name, by[0], other), 100, 0) if other in names else ""]
        cells += [f"{size[name] / 1000:,.1f}", f"{size['fp32'] / size[name]:.1f}×"]
        found.append("| " + " | ".join(cells) + " |")
    return found


def main(runs: list[Path]) -> None:
    """Print a table for each part."""
    tables: dict[str, list[pa.Table]] = {}
    sizes: dict[str, dict[str, list[int]]] = {}
    by: list[str] = []
    for run in runs:
        config: dict[str, Any] = json.loads(json.loads((run / "study.json").read_text())["study"])
        facts = json.loads((run / "models.json").read_text())
        by = list(config["audit"]["by"])
        for part in dict.fromkeys(f["part"] for f in facts):
            path = run / "predictions" / f"{slug(part)}.parquet" if part else run / "predictions.parquet"
            tables.setdefault(part, []).append(pq.read_table(path))
            for fact in facts:
                if fact["part"] == part:
                    sizes.setdefault(part, {}).setdefault(fact["recipe"], []).append(fact["bytes"])
    for part, several in tables.items():
        table = stacked(several).sort_by([("seed", "ascending"), ("row_id", "ascending")])
        seeds = len(set(table["seed"].to_pylist()))
        print(f"\n**{part or 'All networks'}**: {seeds} seeds × {table.num_rows // seeds:,} rows\n")
        print("\n".join(lines(table, {r: statistics.mean(b) for r, b in sizes[part].items()}, by)))


def stacked(tables: list[pa.Table]) -> pa.Table:
    """Return the rows of all seeds, with the recipes that each seed has; several runs of a seed are joined by row."""
    by_seed: dict[int, pa.Table] = {}
    for table in tables:
        for seed in sorted(set(table["seed"].to_pylist())):
            own = table.filter(pc.equal(table["seed"], seed)).sort_by("row_id")
            known = by_seed.get(seed)
            if known is not None:
                for name in own.column_names:
                    if name not in known.column_names:
                        known = known.append_column(name, own[name])
                own = known
            by_seed[seed] = own
    common = [
        n
        for n in next(iter(by_seed.values())).column_names
        if all(n in t.column_names for t in by_seed.values())
    ]
    return pa.concat_tables([t.select(common) for t in by_seed.values()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    main(parser.parse_args().runs)
