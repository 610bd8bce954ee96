"""Damaged tables and odd options: an audit in numbers that JSON can hold, or one sentence; never anything else."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress.auditing.output.audit_json import to_dict
from fairpress.core.errors import UserError

CASES = 120
OUTCOMES = (
    "abs_error=age",
    "squared_error=age,unit=years",
    "score,better=higher",
    "number,better=lower",
    "wer=edits/words",
    "ratio=edits/words,better=higher",
)


def table(rng):
    n = int(rng.choice([1, 2, 3, 25, 150, 400]))
    words = rng.integers(0, 12, n)
    return pd.DataFrame(
        {
            "age": rng.uniform(18, 80, n),
            "fp32": rng.normal(50, 10, n),
            "int8": rng.normal(50, 10, n),
            "words": words,
            "fp32.edits": rng.binomial(words, 0.2),
            "int8.edits": rng.binomial(words, 0.3),
            "person": rng.integers(0, max(n // 4, 1), n),
            "w": rng.choice([0.0, 0.5, 2.0], n),
            "g": rng.choice(["a", "b", "ü", "=1+1", "<b>"], n),
            "h": rng.choice(["x", "y"], n, p=[0.95, 0.05]),
        }
    )


def damaged(rows, rng):
    """Return a table with one column spoilt in one of many ways, or as it is."""
    rows = rows.copy()
    name = str(rng.choice(rows.columns))
    match int(rng.integers(12)):
        case 0:
            rows[name] = np.nan
        case 1:
            rows[name] = 0
        case 2:
            rows[name] = "text"
        case 3:
            rows[name] = rows[name].astype(object).where(rng.random(len(rows)) < 0.8, None)
        case 4:
            rows[name] = np.inf
        case 5:
            rows[name] = 1e99
        case 6:
            rows[name] = -1.0
        case 7:
            rows = rows.drop(columns=name)
        case 8:
            rows[name] = rows[name].astype(str)
        case 9:
            rows[name] = [[1, 2]] * len(rows)
        case 10:
            rows[name] = rng.random(len(rows)) < 0.5
    return rows


@pytest.mark.parametrize("seed", range(CASES))
def test_a_damaged_table_is_audited_or_refused_in_one_sentence(seed):
    rng = np.random.default_rng(seed)
    rows = damaged(table(rng), rng)
    options = {
        "by": [["g"], ["g", "h"], ["g*h"]][rng.integers(3)],
        "margin": rng.choice(["0.5", "5% of baseline", "1e-9", "1e12"]),
        "subject": rng.choice(["person", ""]) or None,
        "weight": rng.choice(["w", ""]) or None,
        "min_rows": [None, 2][rng.integers(2)],
    }
    report, sentence = None, ""
    try:
        report = fp.audit(
            rows, outcome=str(rng.choice(OUTCOMES)), baseline="fp32", compressed="int8", **options
        )
    except UserError as refused:
        sentence = str(refused)
    if report is None:
        assert 0 < len(sentence) < 600
        assert "\n" not in sentence
        return
    json.dumps(to_dict(report), allow_nan=False)
    assert str(report)
    assert report.to_markdown()
    assert report.to_latex()
    assert str(report.gate())
