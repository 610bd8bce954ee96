"""Answers of which only is known whether they were right: the losses are those of the same answers as classes."""

from __future__ import annotations

import numpy as np
import pytest

import fairpress as fp
from fairpress.core.errors import UserError


def tables(seed: int, n: int = 1500):
    """Return one audit's rows as answers to four choices, and as right and wrong."""
    rng = np.random.default_rng(seed)
    label, group = rng.integers(0, 4, n), rng.integers(0, 3, n)
    base = rng.random(n) < 0.8 - 0.1 * group
    other = np.where(rng.random(n) < 0.04 * (1 + group), ~base, base)
    answers = {"base": base, "q4": other}
    chosen = {
        m: np.where(ok, label, (label + rng.integers(1, 4, n)) % 4).astype(str) for m, ok in answers.items()
    }
    names = np.array(["wrong", "correct"])
    groups = np.array(["a", "b", "c"])[group]
    right = {"base": names[base.astype(int)], "q4": names[other.astype(int)]}
    return {"label": label.astype(str), "g": groups, **chosen}, {
        "label": ["correct"] * n,
        "g": groups,
        **right,
    }


def audit(table, **options):
    return fp.audit(table, baseline="base", compressed="q4", by="g", **options)


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_those_of_the_same_answers_as_classes(seed):
    classes, right = (audit(t) for t in tables(seed))
    assert right.positive is None
    assert right.metrics == ("accuracy",)
    assert right.classes == ("correct", "wrong")
    assert (right.warnings, right.rows) == ((), classes.rows)
    for a, b in zip(
        classes.comparisons[0].attributes[0].groups, right.comparisons[0].attributes[0].groups, strict=True
    ):
        one, other = a.losses[0], b.losses[0]
        assert a.values == b.values
        assert (one.estimate.value, one.estimate.low, one.estimate.high) == pytest.approx(
            (other.estimate.value, other.estimate.low, other.estimate.high), abs=1e-12
        )
        assert one.verdict == other.verdict
    one, other = (x.comparisons[0].bounds[0] for x in (classes, right))
    assert one.upper == pytest.approx(other.upper, abs=1e-12)


def test_a_model_that_is_always_right_can_lose_and_one_that_never_is_cannot():
    _, right = tables(0)
    n = len(right["label"])
    perfect = audit(right | {"base": ["correct"] * n})
    assert perfect.comparisons[0].void is None
    assert perfect.comparisons[0].verdict == "harm"
    hopeless = audit(right | {"base": ["wrong"] * n})
    assert "base is never right" in (hopeless.comparisons[0].void or "")


def test_a_label_of_one_class_is_refused_where_it_is_another():
    with pytest.raises(UserError, match=r"only one class \(yes\)"):
        audit({"label": ["yes"] * 20, "g": list("ab") * 10, "base": ["yes"] * 20, "q4": ["no"] * 20})
    with pytest.raises(UserError, match=r"only one class \(correct\)"):
        audit(
            {"label": ["correct"] * 20, "g": list("ab") * 10, "base": ["correct"] * 20, "q4": ["unsure"] * 20}
        )


def test_cells_of_right_and_wrong_are_audited_like_rows(tmp_path):
    _, right = tables(1)
    cells = fp.export_cells(right, baseline="base", compressed="q4", by="g")
    assert audit(cells).comparisons[0].bounds == audit(right).comparisons[0].bounds
