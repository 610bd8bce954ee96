"""Margins relative to the baseline's error: the variance under the hypothesis, error rates, weights, people, both signs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from fairpress.auditing.audit import audit
from fairpress.auditing.statistics.paired_ratio import variance_under_ratio

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from simulated import relative_margins

SIZE = 400


@pytest.mark.parametrize("counts", [(30, 5, 12), (0, 3, 9), (40, 0, 7), (25, 8, 0), (60, 20, 1)])
@pytest.mark.parametrize("ratio", [1.05, 1.2, 2.0])
def test_the_variance_under_the_hypothesis_is_that_of_the_most_likely_rates(counts, ratio):
    both, repaired, lost = (np.array([x / 100]) for x in counts)
    total = float(both[0] + repaired[0] + lost[0])

    def rates(q):
        p = (total - (1 + ratio) * q) / ratio
        return np.array([p, q, total - p - q])

    def minus_log_likelihood(q):
        return -sum(c * np.log(max(x, 1e-300)) for c, x in zip(counts, rates(q), strict=True) if c)

    best = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(0, total / (1 + ratio)), method="bounded", options={"xatol": 1e-13}
    ).x
    p, q, r = rates(best)
    assert p + r == pytest.approx(ratio * (p + q))
    variance = p * (1 - ratio) ** 2 + q * ratio**2 + r
    assert variance_under_ratio(both, repaired, lost, ratio)[0] == pytest.approx(variance, abs=1e-6)


def test_false_findings_at_exactly_the_margin_stay_within_their_level():
    results = list(relative_margins.relative_margin(np.random.default_rng(1), SIZE))
    for claim, level in (
        ("`no_harm` at", 0.05),
        ("`harm` at a loss of exactly a relative margin, level .05", 0.05),
    ):
        shares = np.array([r.share for r in results if r.claim.startswith(claim) and "/" not in r.claim])
        hits = np.round(shares * SIZE)
        assert len(hits) == 81
        assert stats.binom.sf(hits - 1, SIZE, level).min() > 0.0005
        assert shares.mean() < 0.05
        # The test is a test: at four thousand rows it uses its level.
        assert shares.max() > 0.03
    power = [r.share for r in results if r.claim.startswith("Power")]
    assert min(power) > 0.7


def table(rows: int = 6000, seed: int = 0) -> pd.DataFrame:
    """A baseline that errs in 20 % of the negatives and 40 % of the positives; a loss of one point in each."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    wrong = rng.random(rows) < np.where(y == 1, 0.4, 0.2)
    lost = ~wrong & (rng.random(rows) < 0.015)
    repaired = wrong & (rng.random(rows) < 0.01)
    after = (wrong | lost) & ~repaired
    frame = pd.DataFrame({"label": y, "a": np.where(wrong, 1 - y, y), "b": np.where(after, 1 - y, y)})
    frame["sex"] = rng.choice(["F", "M"], rows)
    return frame


HARM = {"accuracy": "error", "tpr": "fnr", "fpr": "fpr"}


def losses(frame, metric, **options):
    report = audit(frame, baseline="a", compressed=["b"], by=["sex"], harm=HARM[metric], **options)
    return [g.losses[0] for g in report.comparisons[0].attributes[0].groups]


@pytest.mark.parametrize("metric", ["accuracy", "tpr", "fpr"])
def test_the_margin_of_a_group_is_a_share_of_the_error_in_that_group(metric):
    frame = table()
    for loss, sex in zip(losses(frame, metric, margin="10% of baseline"), ("F", "M"), strict=True):
        group = frame[frame.sex == sex]
        if metric != "accuracy":
            group = group[group.label == (1 if metric == "tpr" else 0)]
        assert loss.metric == metric
        assert loss.margin == pytest.approx(0.1 * (group.a != group.label).mean(), rel=0.01)
        assert loss.verdict in ("no_harm", "inconclusive", "loss")


def test_twice_the_weight_of_every_row_and_twice_the_rows_of_every_person_change_no_verdict():
    frame = table(3000)
    frame["w"], frame["person"] = 2.0, np.arange(len(frame))
    plain, weighted, people = (
        losses(x, "tpr", margin="10% of baseline", **options)
        for x, options in (
            (frame, {}),
            (frame, {"weight": "w"}),
            (pd.concat([frame, frame]), {"subject": "person"}),
        )
    )
    for one, other, third in zip(plain, weighted, people, strict=True):
        assert other.p_harm_adjusted == pytest.approx(one.p_harm_adjusted, rel=0.02)
        assert third.p_harm_adjusted == pytest.approx(one.p_harm_adjusted, rel=0.1)
        assert one.verdict == other.verdict == third.verdict
