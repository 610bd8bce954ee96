"""How many answers recipes change in every group of an attribute, from a finished study.

``python benchmarks/group_flips_table.py runs/languages --by language --recipes w4 'w4(rounding=gptq)'``. Flips are of 1,000
test rows, points are percentage points of accuracy lost; in brackets 95 % intervals over rows and seeds. Groups are in the
order of their training rows. The last line is Spearman's rank correlation of training rows and flips over the groups.

With ``--matched`` it prints for each seed which groups flip more or less than others among answers as close to call, in
points (`fairpress audit`, p < 0.05 after correction over all groups).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rounding_table import measured, told
from scipy.stats import spearmanr

import fairpress as fp


def training_rows(run: Path, by: str) -> dict[str, int]:
    """Return the training rows of each group in the dataset of a study."""
    config: dict[str, Any] = json.loads(json.loads((run / "study.json").read_text())["study"])
    (chosen,) = config["datasets"].values() if config.get("datasets") else (config["dataset"],)
    options = {k: v for k, v in chosen.items() if k not in ("name", "by", "training")}
    dataset = fp.load_dataset(chosen["name"], **options)
    groups, counts = np.unique(dataset.attributes[by][dataset.index("train")], return_counts=True)
    return dict(zip(groups.tolist(), counts.tolist(), strict=True))


def matched(run: Path, by: str, recipes: list[str]) -> None:
    """Print the differences at equal closeness, seed by seed."""
    table = pq.read_table(run / "predictions.parquet")
    for seed in sorted(set(table["seed"].to_pylist())):
        rows = table.filter(pc.equal(table["seed"], seed)).drop_columns(["seed", "fold"])
        audit = fp.audit(rows, baseline="fp32", compressed=recipes, by=[by])
        for recipe, comparison in audit.to_dict()["comparisons"].items():
            (found,) = comparison["matched_flips"]
            differing = [
                f"{group['values'][by]} {100 * group['matched']['value']:+.1f}"
                for group in found["groups"]
                if (group["matched"]["p_adjusted"] or 0) < 0.05
            ]
            print(f"* seed {seed}, `{recipe}`: {', '.join(differing) or 'none'}")


def main(run: Path, by: str, recipes: list[str]) -> None:
    """Print the table."""
    table = pq.read_table(run / "predictions.parquet")
    seeds = len(set(table["seed"].to_pylist()))
    trained = training_rows(run, by)
    heads = [by, "training rows", "test rows", "fp32 right, %"]
    heads += [f"`{r.replace('|', chr(92) + '|')}`: {q}" for r in recipes for q in ("flips", "points lost")]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    flips: dict[str, list[float]] = {r: [] for r in recipes}
    sizes = []
    for group in sorted(trained, key=lambda g: trained[g]):
        part = table.filter(pc.equal(table[by], group))
        if not part.num_rows:
            continue
        sizes.append(trained[group])
        right = pc.mean(pc.equal(part["fp32"], part["label"])).as_py()
        cells = [group, f"{trained[group]:,}", f"{part.num_rows // seeds:,}", f"{100 * right:.1f}"]
        for recipe in recipes:
            changed = measured(part, "flips", recipe, by)
            flips[recipe].append(changed.value or 0.0)
            cells += [told(changed), told(measured(part, "loss", recipe, by), 100, 1)]
        print("| " + " | ".join(cells) + " |")
    rank = {r: float(spearmanr(sizes, values).statistic) for r, values in flips.items()}
    cells = ["rank correlation", "", "", ""]
    for recipe in recipes:
        cells += [f"{rank[recipe]:+.2f}", ""]
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--by", default="language")
    parser.add_argument("--recipes", nargs="+", required=True)
    parser.add_argument("--matched", action="store_true")
    options = parser.parse_args()
    (matched if options.matched else main)(options.run, options.by, options.recipes)
