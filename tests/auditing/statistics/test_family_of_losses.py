"""`benchmarks/simulated/family.py` in the suite: 60 audits of each world of which the benchmark simulates 1,000 or more."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from simulated import family

SIZE = 60


@pytest.mark.parametrize("claim", [family.null, family.weak_null, family.partial_null, family.largest])
def test_false_findings_stay_within_five_percent(claim):
    tested = [r for r in claim(np.random.default_rng(1), SIZE) if not r.claim.startswith("…")]
    hits = np.array([round(r.share * SIZE) for r in tested])
    # One setting may be unlucky; all of them together are 180 audits or more.
    assert stats.binom.sf(hits - 1, SIZE, 0.05).min() > 0.001
    assert stats.binom.sf(hits.sum() - 1, SIZE * len(tested), 0.05) > 0.01


def test_dealt_flips_find_more_than_holm():
    results = list(family.power(np.random.default_rng(2), SIZE))
    by_deals = [r.share for r in results if not r.claim.startswith("…")]
    by_holm = [r.share for r in results if r.claim.startswith("…")]
    assert len(by_deals) == len(by_holm) == 3
    assert min(np.subtract(by_deals, by_holm)) >= 0
    assert np.mean(by_deals) >= np.mean(by_holm) + 0.08
    assert min(by_deals) > 0.6
