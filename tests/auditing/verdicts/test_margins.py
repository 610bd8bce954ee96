"""Margins as users write them: every form, every error in one sentence with the remedy, and what they do in an audit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress.auditing.audit import audit
from fairpress.auditing.result import Margin
from fairpress.auditing.verdicts.margins import by_metric, margin_of, margins_of, min_rows_of
from fairpress.core.errors import UserError


@pytest.mark.parametrize(
    ("given", "margin"),
    [
        (0.02, Margin(0.02)),
        (np.float64(0.01), Margin(0.01)),
        ("0.02", Margin(0.02)),
        ("2pp", Margin(0.02)),
        ("2.3 pp", Margin(0.023)),
        ("1 point", Margin(0.01)),
        ("2 percentage points", Margin(0.02)),
        ("5% of baseline", Margin(0.05, relative=True)),
        ("5 % of the baseline's own error", Margin(0.05, relative=True)),
        ("0.05 of baseline", Margin(0.05, relative=True)),
        ({"margin": "2pp", "reason": " as retraining "}, Margin(0.02, reason="as retraining")),
        (Margin(0.1, relative=True), Margin(0.1, relative=True)),
    ],
)
def test_a_margin_has_several_spellings(given, margin):
    assert margin_of(given) == margin


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("2%", "two readings; write 2pp for 2 percentage points, or '2% of baseline'"),
        ("2 percent", "two readings"),
        ("0,02", "write a decimal point: `margin=0.02`"),
        ("2,5pp", "write a decimal point: `margin=2.5pp`"),
        ("much", "is not a margin; write 0.02 or 2pp"),
        ("2pp of baseline", "is not a margin"),
        ("nan", "is not a margin"),
        (float("nan"), "must be greater than 0"),
        ("-1pp", "must be greater than 0"),
        ("0", "must be greater than 0"),
        (2, "for 2 percentage points write 0.02 or 2pp"),
        ("200pp", "must be below 1"),
        ("100% of baseline", "is below 100 %"),
        (True, "is a number such as 0.02"),
        (None, "is a number such as 0.02"),
        ({"reason": "because"}, "has the keys margin and reason, not only a reason"),
        ({"margin": 0.02, "why": "because"}, "not why"),
        ({"margin": 0.02, "reason": 3}, "is text, not 3"),
    ],
)
def test_what_is_no_margin_is_one_sentence(given, sentence):
    with pytest.raises(UserError, match=sentence.replace("(", r"\(")):
        margin_of(given)


def test_margins_by_error_and_a_default():
    expected = {"default": Margin(0.01), "fnr": Margin(0.05, relative=True)}
    for given in (
        "1pp,fnr=5% of baseline",
        ["1pp", "fnr = 5% of baseline"],
        {"default": 0.01, "fnr": "5% of baseline"},
    ):
        assert margins_of(given) == expected
    assert margins_of({}) == {"default": Margin(0.02)}
    assert margins_of({"fnr": 0.1}) == {"default": Margin(0.02), "fnr": Margin(0.1)}
    assert margins_of({"margin": 0.1, "reason": "why"}) == {"default": Margin(0.1, reason="why")}
    assert by_metric(expected, ("tpr", "accuracy")) == {"tpr": expected["fnr"], "accuracy": Margin(0.01)}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("tpr=0.02", "there is no error 'tpr'. Did you mean 'fnr'?"),
        ("accuracy=0.02", "Did you mean 'error'?"),
        ("f1=0.02", "Available: error, fnr, fpr"),
        ("fnr=0.02,fnr=0.03", "the margin of fnr is given twice"),
        ("0.02,0.03", "the default margin is given twice"),
        ("", "the margin is empty"),
    ],
)
def test_wrong_margins_are_one_sentence(given, sentence):
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        margins_of(given)


def test_rows_by_error():
    assert min_rows_of(None) == {}
    assert min_rows_of(200) == min_rows_of("200") == {"default": 200}
    assert min_rows_of(["100", "fnr=50"]) == min_rows_of({"default": 100, "fnr": 50})
    for wrong in (0, -3, 1.5, "many", True, {"fnr": 0}):
        with pytest.raises(UserError, match="a number of rows"):
            min_rows_of(wrong)
    with pytest.raises(UserError, match="Did you mean 'fnr'"):
        min_rows_of("tpr=50")


def table(rows: int = 4000, classes: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    y = rng.integers(0, classes, rows)
    a = np.where(rng.random(rows) < 0.2, (y + 1) % classes, y)
    b = np.where(rng.random(rows) < 0.01, (a + 1) % classes, a)
    names = np.array(["no", "yes", "maybe"])
    return pd.DataFrame(
        {"label": names[y], "a": names[a], "b": names[b], "sex": rng.choice(["F", "M"], rows)}
    )


def test_each_error_is_judged_at_its_margin_and_assessed_from_its_rows_on():
    margins = {"error": "1pp", "fnr": {"margin": "4pp", "reason": "rare"}}
    report = audit(
        table(),
        baseline="a",
        compressed=["b"],
        by="sex",
        harm="fnr",
        margin=margins,
        min_rows={"fnr": 5000, "fpr": 10},
    )
    assert report.metrics == ("tpr", "accuracy", "fpr")
    assert report.margin == 0.04
    assert report.margins == {
        "tpr": Margin(0.04, reason="rare"),
        "accuracy": Margin(0.01),
        "fpr": Margin(0.02),
    }
    assert (report.min_rows["tpr"], report.min_rows["fpr"]) == (5000, 10)
    group = report.comparisons[0].attributes[0].groups[0]
    assert [(x.metric, x.margin, x.assessed) for x in group.losses] == [
        ("tpr", 0.04, False),
        ("accuracy", 0.01, True),
        ("fpr", 0.02, True),
    ]


def test_what_is_relative_needs_the_rows_of_that_share_of_the_baselines_error():
    relative = audit(table(), baseline="a", compressed=["b"], by="sex", margin="10% of baseline")
    absolute = audit(table(), baseline="a", compressed=["b"], by="sex", margin=0.02)
    assert relative.min_rows["accuracy"] == pytest.approx(absolute.min_rows["accuracy"], rel=0.1)  # .1 × .2


def test_without_a_positive_class_only_the_error_rate_can_have_a_margin_or_decide():
    for options, sentence in (
        ({"margin": "fnr=2pp"}, "fnr is not judged"),
        ({"harm": "fnr"}, "not among the judged metrics"),
    ):
        with pytest.raises(UserError, match=sentence):
            audit(table(classes=3), baseline="a", compressed=["b"], by="sex", **options)
    assert (
        audit(table(classes=3), baseline="a", compressed=["b"], by="sex", margin="error=3pp").margin == 0.03
    )


@pytest.mark.parametrize("margin", ["10% of baseline", "error=1pp"])
def test_a_ledger_takes_one_absolute_margin(margin, tmp_path):
    from fairpress.auditing.monitoring.record import record

    frame = table()
    report = audit(frame, baseline="a", compressed=["b"], by="sex", margin=margin)
    with pytest.raises(UserError, match="one absolute margin for all errors"):
        record(report, frame, tmp_path / "ledger.json")
