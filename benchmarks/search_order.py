"""Which of two candidates of nearly equal size a search should test: ``python benchmarks/search_order.py``.

Simulated searches in pairs of candidates whose sizes differ by 1 %; what a group loses grows as they get smaller, and
differs within a pair. 512 selection rows fix the sequence, 1,500 other rows judge, and the limit is 2 points. Three rules
see the same rows: of two steps that differ by less than 3 % they test the riskier, the safer (as a search does), or both.
Prints how often the winner truly breaks the limit (at most 5 % by theory, whatever the rule), how often there is a winner,
and the geometric mean of its size, where 1 is the baseline. In the second table every candidate loses what is allowed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.searching.bounds import JudgingPlan, bounds_of
from fairpress.searching.fixed_sequence import MIN_RELATIVE_GAIN, judge_sequence, sequence
from fairpress.searching.trial import Trial, pareto_front

SELECTING, JUDGING, LIMIT, GAINED, RIGHT = 512, 1500, 0.02, 0.004, 0.85
SIZES = [size * s for size in (0.5, 0.25, 0.18, 0.125, 0.09) for s in (1.0, 0.99)]
GROUP = "group = a"
PLAN = JudgingPlan(
    {"max_group_loss": LIMIT}, ("group",), ("accuracy",), 0.95, {("group", "accuracy"): {GROUP: JUDGING}}
)


def evidence_of(rng: np.random.Generator, rows: int, loss: float) -> GroupEstimator:
    """Return what rows of one group show about a candidate that truly loses so much accuracy."""
    before = rng.random(rows) < RIGHT
    chance = np.where(before, (loss + GAINED) / RIGHT, GAINED / (1 - RIGHT))
    after = before ^ (rng.random(rows) < chance)
    ones = np.ones(rows)
    group = {"group": EncodedTable(("a",), np.zeros(rows, int))}
    models = {"baseline": before.astype(int), "candidate": after.astype(int)}
    return GroupEstimator(Cells(group, np.ones(rows, int), models, ones, ones, ones, ("no", "yes"), "yes"))


def riskier(trials: Sequence[Trial]) -> list[Trial]:
    """Return the front, of two nearly equal sizes the riskier, as searches tested before."""
    steps = pareto_front(trials, "bytes")
    gains = [1 - after.bytes / before.bytes for before, after in pairwise(steps)] + [1.0]
    return [s for i, (s, g) in enumerate(zip(steps, gains, strict=True)) if not i or g >= MIN_RELATIVE_GAIN]


RULES: dict[str, Callable[[Sequence[Trial]], list[Trial]]] = {
    "the riskier": riskier,
    "the safer": lambda trials: sequence(trials, "bytes"),
    "both": lambda trials: pareto_front(trials, "bytes"),
}


def search(rng: np.random.Generator, losses: Sequence[float]) -> dict[str, int | None]:
    """Return the candidate that wins by each rule; None where none is cleared."""
    trials = []
    for i, (size, loss) in enumerate(zip(SIZES, losses, strict=True)):
        bounds = tuple(bounds_of(evidence_of(rng, SELECTING, loss), PLAN))
        trials.append(Trial(str(i), SimpleNamespace(size=round(1e6 * size)), bounds, RIGHT, None, 0.0))  # type: ignore[arg-type]
    judging = [evidence_of(rng, JUDGING, loss) for loss in losses]
    winners: dict[str, int | None] = {}
    for name, rule in RULES.items():
        judged = judge_sequence(rule(trials), lambda trial: judging[int(trial.recipe)], PLAN)
        passed = [int(j.trial.recipe) for j in judged if j.passed]
        winners[name] = passed[-1] if passed else None
    return winners


def losses_of(rng: np.random.Generator) -> list[float]:
    """Return true losses: the typical one doubles from pair to pair, and single ones vary by half of it."""
    return [0.0015 * 2 ** (i // 2) * float(np.exp(rng.normal(0, 0.5))) for i in range(len(SIZES))]


def main() -> None:
    """Print a table of each kind of losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=500)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    for title, draw in (
        ("losses that grow", lambda: losses_of(rng)),
        ("losses at the limit", lambda: [LIMIT] * len(SIZES)),
    ):
        results: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in RULES}
        for _ in range(options.searches):
            losses = draw()
            for name, winner in search(rng, losses).items():
                wrong = winner is not None and losses[winner] >= LIMIT
                results[name].append((wrong, winner is not None, 1.0 if winner is None else SIZES[winner]))
        print(f"\n| {title}: tested | breaks the limit | has a winner | mean size |\n|---|--:|--:|--:|")
        for name, found in results.items():
            wrong, won, size = (np.array(column) for column in zip(*found, strict=True))
            print(f"| {name} | {wrong.mean():.1%} | {won.mean():.1%} | {np.exp(np.log(size).mean()):.3f} |")


if __name__ == "__main__":
    main()
