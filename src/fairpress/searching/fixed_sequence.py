"""Fixed-sequence testing: which candidates are tested on the judging rows, in which order, and when testing stops.

The choosing rows fix the order: from the candidate most likely to keep every limit to the one with the best objective
(Pareto Testing: Laufer-Goldshtein, Fisch, Barzilay and Jaakkola 2023, arXiv 2210.07913). Each is tested at the full
α; the first that is not demonstrated to keep every limit ends the sequence, and the last one before it wins. A winner that
violates a limit requires that the first such candidate of the sequence passed its test: the probability is at most α,
however many were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.verdicts.rules import Tested, judge, run_tests
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.attribute import Attribute
from fairpress.searching.bounds import (
    BASELINE,
    CANDIDATE,
    MODEL_FILE,
    Bound,
    JudgingPlan,
    bounds_of,
    grouping_of,
    worst_bound,
)
from fairpress.searching.limits import Objective
from fairpress.searching.trial import Trial, pareto_front

MAX_TESTS = 6
MIN_RELATIVE_GAIN = 0.03  # smaller relative gains of bytes and latency are not worth a test
MIN_GAIN_OF_ACCURACY = 0.005


@dataclass(frozen=True)
class JudgedCandidate:
    """The result of testing a candidate on the judging rows.

    Attributes
    ----------
    bounds
        One for every limit and group.
    shown
        Groups for which a loss is demonstrated (Holm over all groups), even if too small to be judged; each is a veto.
    """

    trial: Trial
    bounds: tuple[Bound, ...]
    shown: tuple[str, ...]
    alpha: float

    @property
    def binds(self) -> Bound:
        """Return the binding bound: the limit that is furthest from being demonstrated."""
        return worst_bound(self.bounds)

    @property
    def passed(self) -> bool:
        return not self.shown and all(b.p <= self.alpha for b in self.bounds)

    def to_dict(self) -> dict[str, Any]:
        return {
            "recipe": self.trial.recipe,
            "bytes": self.trial.bytes,
            "kept": self.passed,
            "p": self.binds.p,
            "loss_shown": list(self.shown),
            "bounds": [b.to_dict() for b in self.bounds],
        }


def sequence(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """Return the candidates to test, in their order: the front without steps that gain little, at most `MAX_TESTS`.

    Of two with nearly equal costs the safer is tested, because the first failure ends the sequence: a riskier one would risk
    all that follows, and itself, for little. The last one of the front is always tested, since nothing follows it.
    """
    steps = pareto_front(trials, objective)
    out: list[Trial] = []
    for trial in steps[:-1]:
        if not out or _gain(out[-1], trial, objective) >= _min_gain(out[-1], objective):
            out.append(trial)
    out += steps[-1:]
    while len(out) > MAX_TESTS:
        gains = [_gain(a, b, objective) for a, b in pairwise(out[:-1])]
        del out[1 + int(np.argmin(gains))]
    return out


def _gain(safer: Trial, smaller: Trial, objective: Objective) -> float:
    return safer.cost(objective) - smaller.cost(objective)


def _min_gain(trial: Trial, objective: Objective) -> float:
    return MIN_GAIN_OF_ACCURACY if objective == "accuracy" else MIN_RELATIVE_GAIN * trial.cost(objective)


def judge_sequence(
    steps: Sequence[Trial],
    evidence_of: Callable[[Trial], GroupEstimator],
    plan: JudgingPlan,
    with_latency: Callable[[Trial], Trial] = lambda trial: trial,
) -> list[JudgedCandidate]:
    """Return the tested candidates in order, up to and including the first that failed.

    `with_latency` measures the latency of a candidate again if it is limited: the timing used for selection is biased.
    """
    judged: list[JudgedCandidate] = []
    for trial in steps:
        judged.append(judge_one(with_latency(trial), evidence_of(trial), plan))
        if not judged[-1].passed:
            break
    return judged


def judge_one(trial: Trial, evidence: GroupEstimator, plan: JudgingPlan) -> JudgedCandidate:
    """Return the result for one candidate; bounds on the file itself are taken from the trial."""
    file_bounds = [b for b in trial.bounds if b.who == MODEL_FILE]
    shown = _losses_shown(evidence, plan) if "max_group_loss" in plan.limits else ()
    return JudgedCandidate(trial, (*bounds_of(evidence, plan), *file_bounds), shown, plan.alpha)


def _losses_shown(evidence: GroupEstimator, plan: JudgingPlan) -> tuple[str, ...]:
    tests: dict[tuple[str, str], Tested] = {}
    for attribute in plan.by:
        grouping = grouping_of(evidence, attribute)
        for metric in plan.metrics:
            change = evidence.change(CANDIDATE, BASELINE, metric, grouping)
            flip_share = evidence.flip_share(CANDIDATE, BASELINE, metric, grouping)
            loss = change if LOSS_SIGN[metric] > 0 else -change
            tests[attribute, metric] = run_tests(
                loss, flip_share, plan.limits["max_group_loss"], plan.confidence
            )
    verdicts_of = judge(tests, plan.confidence)
    shown = []
    for (attribute, metric), verdicts in verdicts_of.items():
        groups = evidence.cells.grouping(Attribute.from_text(attribute)).values
        too_small = {name for name, rate, _ in plan.too_few if rate == metric}
        for values, verdict in zip(groups, verdicts.verdict.tolist(), strict=True):
            group = group_name(values)
            if verdict == "harm" or (verdict == "loss" and group in too_small):
                shown.append(f"{group} ({metric})")
    return tuple(shown)
