"""Which candidates are tested on the judging rows, in which order, and when to stop: a fixed sequence.

The order is fixed by the choosing rows: from the candidate most likely to keep every limit to the one that is best if it
does (Pareto Testing: Laufer-Goldshtein, Fisch, Barzilay and Jaakkola 2023, arXiv 2210.07913). Each is tested at the full
α; the first that is not shown to keep every limit ends the sequence, and the last before it wins. For a winner that breaks
a limit, the first such candidate of the sequence must have passed its test: a chance of at most α, however many were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.statistics.t_estimate import TEstimate
from fairpress.auditing.verdicts.rules import judge
from fairpress.auditing.verdicts.wording import group_name
from fairpress.searching.bounds import (
    BASELINE,
    CANDIDATE,
    THE_FILE,
    Bound,
    JudgingPlan,
    bounds_of,
    worst_bound,
)
from fairpress.searching.limits import Objective
from fairpress.searching.trial import Trial, pareto_front

LONGEST = 6
CLOSE = 0.03  # steps that gain less are not worth a test


@dataclass(frozen=True)
class JudgedCandidate:
    """What the judging rows say of a candidate.

    Attributes
    ----------
    bounds
        One for every limit and group.
    shown
        Groups, also those too small to be judged, for which a loss above 0 is shown (Holm over all): they veto.
    """

    trial: Trial
    bounds: tuple[Bound, ...]
    shown: tuple[str, ...]
    alpha: float

    @property
    def binds(self) -> Bound:
        """Return the limit that is furthest from being shown to be kept."""
        return worst_bound(self.bounds)

    @property
    def kept(self) -> bool:
        return not self.shown and all(b.p <= self.alpha for b in self.bounds)

    def to_dict(self) -> dict[str, Any]:
        return {
            "recipe": self.trial.recipe,
            "bytes": self.trial.bytes,
            "kept": self.kept,
            "p": self.binds.p,
            "loss_shown": list(self.shown),
            "bounds": [b.to_dict() for b in self.bounds],
        }


def sequence(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """Return the candidates to test, in their order: the front without steps that gain little, at most `LONGEST`."""
    steps = pareto_front(trials, objective)
    out: list[Trial] = []
    for i, trial in enumerate(steps):
        last = i + 1 == len(steps)
        gain = 1.0 if last else abs(trial.cost(objective) - steps[i + 1].cost(objective))
        if last or not out or gain >= CLOSE * abs(trial.cost(objective)):
            out.append(trial)
    while len(out) > LONGEST:
        gains = [abs(a.cost(objective) - b.cost(objective)) for a, b in pairwise(out[1:])]
        del out[1 + int(np.argmin(gains))]
    return out


def in_order(
    steps: Sequence[Trial],
    evidence_of: Callable[[Trial], GroupEstimator],
    asked: JudgingPlan,
    timed: Callable[[Trial], Trial] = lambda trial: trial,
) -> list[JudgedCandidate]:
    """Return what was judged, in order, up to and including the first candidate that failed.

    `timed` measures a candidate's latency anew where it is limited: the timing that chose it flatters it.
    """
    judged: list[JudgedCandidate] = []
    for trial in steps:
        judged.append(judge_one(timed(trial), evidence_of(trial), asked))
        if not judged[-1].kept:
            break
    return judged


def judge_one(trial: Trial, evidence: GroupEstimator, asked: JudgingPlan) -> JudgedCandidate:
    """Return what rows say of one candidate; the file's own limits stay as the trial has them."""
    own = [b for b in trial.bounds if b.who == THE_FILE]
    shown = _losses_shown(evidence, asked) if "max_group_loss" in asked.limits else ()
    return JudgedCandidate(trial, (*bounds_of(evidence, asked), *own), shown, asked.alpha)


def _losses_shown(evidence: GroupEstimator, asked: JudgingPlan) -> tuple[str, ...]:
    losses: dict[tuple[str, str], TEstimate] = {}
    for attribute in asked.by:
        groups, index = evidence.cells.groups(attribute)
        for metric in asked.metrics:
            change = evidence.change(CANDIDATE, BASELINE, metric, index, len(groups))
            losses[attribute, metric] = change if LOSS_SIGN[metric] > 0 else -change
    found = judge(losses, asked.limits["max_group_loss"], asked.confidence)
    out = []
    for (attribute, metric), verdicts in found.items():
        groups, _ = evidence.cells.groups(attribute)
        small = {who for who, rate, _ in asked.too_few if rate == metric}
        for values, verdict in zip(groups, verdicts.verdict.tolist(), strict=True):
            who = group_name(values)
            if verdict == "harm" or (verdict == "loss" and who in small):
                out.append(f"{who} ({metric})")
    return tuple(out)
