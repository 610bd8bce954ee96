"""Does what a search promises hold on fresh rows? COMPAS, split anew for every repetition.

python benchmarks/search_holds.py --repetitions 30

In each repetition people are dealt anew into rows that train, choose and judge, and as many fresh rows. A network is
trained and compressed by a few recipes, some of which break the limit. Two rules choose among the same candidates on the
same judging rows: the search's, and the naive one (the smallest file whose estimated losses keep the limit). The limit
holds where no group that was judged loses more on the fresh rows, by the plain estimate.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import fairpress as fp
from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.models.mlp import DEFAULT_WIDTHS, Mlp
from fairpress.searching.bounds import JudgingPlan, bounds_of
from fairpress.searching.budget import Budget
from fairpress.searching.candidate_store import Candidate, CandidateStore
from fairpress.searching.eligible_groups import attributes_of, judging_plan, min_rows_for
from fairpress.searching.explore import Explorer
from fairpress.searching.fixed_sequence import judge_one, judge_sequence, sequence
from fairpress.searching.limits import Limits
from fairpress.searching.row_split import RowSplit, split_rows
from fairpress.searching.trial import Trial
from fairpress.store.local import Store
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit

Chosen = tuple[str, bool, bool]
TOGETHER = 15
RECIPES = ("int8", "w4", "int4", "kmeans-16", "int2", "w2")


def holds(shop: CandidateStore, trial: Trial, asked: JudgingPlan) -> tuple[bool, bool]:
    """Return whether no judged group's loss on the fresh rows is above the limit, and whether none is shown to be."""
    fresh = judge_one(trial, shop.evidence(trial.artifact, shop.dataset.parts["test"], asked.by), asked)
    return (
        all(b.value is None or b.value <= b.allowed for b in fresh.bounds),
        all(b.p < asked.confidence for b in fresh.bounds),
    )


def repetitions(seeds: list[int], limit: float, mixed: int) -> list[dict[str, Chosen | None]]:
    """Return what each rule chose in each repetition (recipe, holds, not contradicted); None where it refused.

    Networks are trained and compressed together, which is faster and changes nothing about any of them.
    """
    data = [fp.load_dataset("compas", split_seed=seed, test_share=0.5) for seed in seeds]
    bases = fit(Mlp(widths=DEFAULT_WIDTHS), [d.development() for d in data], seeds, FitConfig())
    limits, rows = Limits(max_group_loss=limit), [split_rows(d) for d in data]
    made = {text: compress(bases, parse(text), [r.recipe_data for r in rows], seeds) for text in RECIPES}
    wide, small = made["int4"][0].size, made["int2"][0].size
    for i in range(mixed):
        text = f"mixed(budget={round(small + (i + 1) / (mixed + 1) * (wide - small))})"
        made[text] = compress(bases, parse(text), [r.recipe_data for r in rows], seeds)
    return [
        chosen(base, d, r, {text: own[i] for text, own in made.items()}, limits)
        for i, (base, d, r) in enumerate(zip(bases, data, rows, strict=True))
    ]


def chosen(
    base: fp.Artifact, dataset: fp.Dataset, rows: RowSplit, made: dict[str, fp.Artifact], limits: Limits
) -> dict[str, Chosen | None]:
    """Return what each rule chose in one repetition."""
    by = attributes_of(["race", "age"], dataset)
    asked = judging_plan(limits, by, dataset, rows.judging, min_rows_for(limits, 0.95), 0.95)
    with tempfile.TemporaryDirectory() as folder:
        shop = CandidateStore(base, dataset, rows, Store(Path(folder)), 0)
        explorer = Explorer(shop, asked, limits, "bytes", Budget(), lambda sentence: None)
        for text, artifact in made.items():
            explorer.record(Candidate(text, artifact, None, 0.0, False))
        trials = list(explorer.trials.values())
        seen = {t.recipe: shop.evidence(t.artifact, rows.judging, by) for t in trials}
        judged = judge_sequence(sequence(trials, "bytes"), lambda t: seen[t.recipe], asked)
        ours = next((j.trial for j in reversed(judged) if j.passed), None)
        naive = [
            t
            for t in trials
            if all(b.value is None or b.value <= b.allowed for b in bounds_of(seen[t.recipe], asked))
        ]
        picked = min(naive, key=lambda t: t.bytes, default=None)
        return {
            name: None if t is None else (t.recipe, *holds(shop, t, asked))
            for name, t in (("search", ours), ("naive", picked))
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--limit", type=float, default=0.05)
    parser.add_argument("--mixed", type=int, default=2)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, list[Chosen | None]] = {"search": [], "naive": []}
    for first in range(0, asked.repetitions, TOGETHER):
        seeds = list(range(first, min(first + TOGETHER, asked.repetitions)))
        for seed, one in zip(seeds, repetitions(seeds, asked.limit, asked.mixed), strict=True):
            for name, choice in one.items():
                found[name].append(choice)
            print(seed, one, flush=True)
    for name, own in found.items():
        won = [o for o in own if o is not None]
        print(
            f"{name}: an artifact in {len(won)} of {len(own)}; the limit holds on fresh rows in {sum(o[1] for o in won)}, "
            f"is not contradicted (95 %) in {sum(o[2] for o in won)}"
        )


if __name__ == "__main__":
    main()
