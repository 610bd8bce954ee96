"""`benchmarks/simulated/guarded_loops.py` in the suite: the verdict keeps its 5 % though a loop optimized by other rows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from simulated.guarded_loops import guarded_loops


def test_the_verdict_keeps_its_error_and_the_rows_of_the_loop_do_not():
    shares = {(f.claim, f.setting): f for f in guarded_loops(np.random.default_rng(26), 400)}
    verdicts = [f for (claim, _), f in shares.items() if "of the verdict" in claim]
    by_loop = {s: f.share for (claim, s), f in shares.items() if "rows of the loop" in claim}
    assert len(verdicts) == 4
    assert all(f.passed and f.share <= 0.075 for f in verdicts)
    assert by_loop["loss δ of one group in each of 50 candidates"] > 0.5
