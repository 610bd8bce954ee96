"""Outcomes at their edges: margins meant as points, rounded numbers, groups without words, foreign answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress.core.errors import UserError

MODELS = {"baseline": "a", "compressed": "b", "by": "sex"}


def words(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = rng.integers(1, 20, rows)
    edits = {f"{m}.edits": rng.binomial(n, p) for m, p in (("a", 0.06), ("b", 0.07))}
    return pd.DataFrame({"words": n, **edits, "sex": rng.choice(["f", "m"], rows)})


@pytest.mark.parametrize("margin", [2, "2", {"margin": 2, "reason": "two points were meant"}])
def test_a_margin_of_two_where_points_are_judged_is_refused_as_in_an_audit_of_classes(margin):
    with pytest.raises(UserError, match=r"below 1, not 2; for 2 percentage points write 0.02 or 2pp"):
        fp.audit(words(), outcome="wer=edits/words", margin=margin, **MODELS)
    assert fp.audit(words(), outcome="ratio=edits/words", margin=2, **MODELS).margin == 2


def test_the_margin_that_is_asked_for_has_an_example_in_the_unit_of_the_outcome():
    with pytest.raises(
        UserError, match=r"rise of the word error rate .* \(percentage points\).*`margin='1pp'`"
    ):
        fp.audit(words(), outcome="wer=edits/words", **MODELS)
    with pytest.raises(UserError, match=r"rise of the edits per words .*`margin=0.25`"):
        fp.audit(words(), outcome="ratio=edits/words", **MODELS)


def test_a_group_without_words_is_not_said_to_have_too_few_people():
    table = words()
    table.loc[table.sex == "f", "words"] = 0
    report = fp.audit(table, outcome="wer=edits/words", margin="2pp", **MODELS)
    count = int((table.sex == "f").sum())
    why = f"not assessed, words that sum to 0, or fewer than two rows (or people): sex = f ({count})"
    assert why in report.comparisons[0].headline
    assert "too few people" not in str(report)


def test_counterfactual_pairs_are_refused_and_not_left_out():
    with pytest.raises(UserError, match="`counterfactual=` does not go with `outcome='wer=edits/words'`"):
        fp.audit(words(), outcome="wer=edits/words", margin="2pp", counterfactual="words", **MODELS)


@pytest.mark.parametrize("as_text", [False, True])
def test_whole_numbers_that_lose_their_last_digits_are_refused(as_text):
    rows = 200
    truth = [10**18 + i for i in range(rows)]
    off = {"a": [t + 1 for t in truth], "b": [t + 1 + i % 2 for i, t in enumerate(truth)]}
    table = pd.DataFrame({"t": truth, **off, "sex": ["f", "m"] * (rows // 2)})
    if as_text:
        table = table.astype(dict.fromkeys("tab", str))
    options = {"outcome": "abs_error=t", "margin": 0.1, **MODELS}
    with pytest.raises(
        UserError, match=r"'t' \(the label\) is 1000000000000000000 in row 1: so large numbers lose"
    ):
        fp.audit(table, **options)
    near = table.assign(**{name: [int(x) - 10**18 for x in table[name]] for name in "tab"})
    assert fp.audit(near, **options).comparisons[0].verdict == "harm"


def test_large_numbers_that_are_floats_already_are_judged():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"a": 1e20 * rng.random(300), "sex": ["f", "m", "x"] * 100})
    report = fp.audit(table.assign(b=table.a), outcome="number,better=lower", margin=1e19, **MODELS)
    assert report.comparisons[0].verdict == "no_harm"


def test_answers_that_are_right_in_no_row_are_warned_about():
    rng = np.random.default_rng(2)
    right, given = (rng.choice(["x", "y", "unknown"], 400) for _ in range(2))
    table = pd.DataFrame({"right": right, "a": right, "b": given, "sex": ["f", "m"] * 200})
    options = {"outcome": "abstention=right", "margin": "2pp", **MODELS}
    assert not fp.audit(table, **options).warnings
    spelled = table.assign(b=table.b.replace("x", "X "))
    (warning,) = fp.audit(spelled, **options).warnings
    assert warning.startswith(
        f"Answers of b that are right in no row, such as 'X ': {(given == 'x').sum()} of 400."
    )


def test_an_audit_of_the_baseline_alone_prints_its_levels():
    report = fp.audit(words(), outcome="wer=edits/words,unit=pp", baseline="a", by="sex")
    printed = str(report)
    table = words()
    level = 100 * table["a.edits"].sum() / table["words"].sum()
    assert "word error rate: points" in printed
    assert f"{level:.2f} [" in printed
    assert "Sum of edits over sum of words" in printed


def test_an_unknown_outcome_lists_the_outcomes_once():
    with pytest.raises(UserError) as error:
        fp.audit(words(), outcome="mae=edits", margin=1, **MODELS)
    assert str(error.value).count("abs_error") == 1


def test_a_column_that_is_the_baseline_again_is_warned_about():
    table = words()
    copied = table.assign(**{"b.edits": table["a.edits"]})
    options = {"outcome": "wer=edits/words", "margin": "2pp", **MODELS}
    (warning,) = fp.audit(copied, **options).warnings
    assert warning.startswith("b is judged as a is in every single row")
    assert not fp.audit(table, **options).warnings
