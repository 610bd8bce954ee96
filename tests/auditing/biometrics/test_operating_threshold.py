"""A threshold at a false match rate comes from other rows, holds there, and says what it rests on."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from scipy.stats import norm

import fairpress as fp
from fairpress.auditing.biometrics.operating_threshold import lowest_threshold
from fairpress.cli import main
from fairpress.core.errors import UserError


def pairs(rows: int = 6000, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = rng.random(rows) < 0.3
    score = rng.normal(np.where(same, 3.0, 0.0))
    return {
        "label": np.where(same, "same", "different"),
        "race": rng.choice(["A", "B"], rows),
        "fp32.score": score,
        "int8.score": score + 0.5 + rng.normal(0, 0.1, rows),
    }


@pytest.mark.parametrize("fpr", [0.5, 0.1, 0.01, 0.001])
def test_at_most_the_requested_share_of_the_negatives_reaches_the_threshold(fpr):
    rng = np.random.default_rng(1)
    for digits in (1, 3, 12):
        negatives, positives = (rng.normal(mean, 1, 5000).round(digits) for mean in (0, 2))
        at = lowest_threshold(negatives, positives, fpr)
        assert (negatives >= at).mean() <= fpr
        lower = negatives[
            negatives < at
        ].max()  # the next lower threshold that would decide otherwise lets too many in
        assert (negatives >= lower).mean() > fpr


def test_the_threshold_is_the_quantile_and_is_written_with_few_digits():
    table = pairs(200_000)
    (chosen,) = fp.thresholds(table, "fp32", fpr=0.01, positive="same")
    assert chosen.threshold == pytest.approx(norm.ppf(0.99), abs=0.03)
    assert len(chosen.decide) <= len("fp32.score>=2.32666")
    assert chosen.false_negative_rate.value == pytest.approx(norm.cdf(norm.ppf(0.99) - 3), abs=0.01)
    decided = table["fp32.score"] >= float(chosen.decide.partition(">=")[2])
    assert chosen.false_positive_rate.value == decided[table["label"] == "different"].mean()


def test_scores_next_to_zero_have_a_threshold():
    assert lowest_threshold(np.array([1e-310, *[0.0] * 100]), np.array([1.0]), 0.01) == 1e-310
    assert lowest_threshold(np.array([-1e-310, *[-1.0] * 100]), np.array([1.0]), 0.01) == -1e-310


def test_the_audit_of_other_rows_takes_the_rule():
    chosen = fp.thresholds(pairs(seed=1), ["fp32", "int8"], fpr=0.01, positive="same")
    audit = fp.audit(
        pairs(seed=2),
        baseline="fp32",
        compressed="int8",
        by="race",
        positive="same",
        decide={t.model: t.decide for t in chosen},
    )
    assert audit.comparisons[0].verdict == "no_harm"
    for model in audit.models:
        assert model.overall.rates["fpr"].value == pytest.approx(0.01, abs=0.005)


def test_a_shared_threshold_shows_that_all_scores_moved():
    own, shared = (
        fp.thresholds(pairs(), ["fp32", "int8"], fpr=0.01, positive="same", shared=s) for s in (False, True)
    )
    assert own[1].threshold == pytest.approx(own[0].threshold + 0.5, abs=0.05)
    assert shared[1].threshold == shared[0].threshold
    assert shared[1].false_positive_rate.low > 0.01


def test_rows_of_one_block_widen_the_interval():
    table = {name: np.repeat(values, 10) for name, values in pairs(600).items()}
    table["block"] = np.repeat(np.arange(600), 10)
    (alone,) = fp.thresholds(table, "fp32", fpr=0.1, positive="same")
    (clustered,) = fp.thresholds(table, "fp32", fpr=0.1, positive="same", subject="block")
    (truth,) = fp.thresholds(pairs(600), "fp32", fpr=0.1, positive="same")

    def width(t):
        return t.false_positive_rate.high - t.false_positive_rate.low

    assert width(clustered) == pytest.approx(width(truth), rel=0.1)
    assert width(alone) < 0.4 * width(truth)


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ({}, {"fpr": 0.0001}, "takes 10,000, and 300,000 for 30 errors"),
        ({}, {"fpr": 1.5}, "not between 0 and 1"),
        ({}, {"models": "int4"}, "int4"),
        ({}, {"positive": None}, "which of them is positive is not known"),
        ({}, {"positive": "yes"}, "'yes' is neither"),
        ({"label": ["a", "b", "c"] * 2000}, {}, "needs two classes"),
        ({"fp32.score": [None, *[0.5] * 5999]}, {}, "missing in 1 rows"),
        ({"fp32.score": ["x", *["0.5"] * 5999]}, {}, "x"),
        ({}, {"subject": "block"}, "block"),
        ({}, {"confidence": 95}, "did you mean 0.95"),
    ],
)
def test_what_gives_no_threshold_is_one_sentence(change, options, sentence):
    with pytest.raises(UserError, match=sentence):
        fp.thresholds({**pairs(), **change}, **{"models": "fp32", "fpr": 0.01, "positive": "same", **options})


def test_the_command_prints_the_audit_that_comes_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pa.csv.write_csv(pa.table(pairs()), "other.csv")
    asked = ["threshold", "other.csv", "--models", "fp32,int8", "--fpr", "0.001", "--positive", "same"]
    with pytest.raises(SystemExit) as stop:
        main(asked)
    assert not stop.value.code
    shown = capsys.readouterr()
    assert "fewer than 30 errors" in shown.err
    assert "fp32: fp32.score>=" in shown.out
    assert "fairpress audit TABLE --decide 'fp32=fp32.score>=" in shown.out
    with pytest.raises(SystemExit) as stop:
        main([*asked, "--json"])
    first, second = json.loads(capsys.readouterr().out)
    assert first["decide"] == f"fp32.score>={first['threshold']}"
    assert second["false_positive_rate"]["value"] <= 0.001
