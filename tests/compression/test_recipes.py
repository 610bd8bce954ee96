"""Recipes as people write them."""

from __future__ import annotations

import pytest

from fairpress.compression.recipes import parse
from fairpress.compression.steps.finetune import FineTune
from fairpress.compression.steps.prune import cubic
from fairpress.core.errors import UserError


def test_steps_compose_left_to_right():
    recipe = parse("prune-80+int8")
    assert [type(s).__name__ for s in recipe.steps] == ["Prune", "Quantize"]
    assert recipe.steps[0].sparsity == 0.8
    assert parse("int4(ranges=minmax)").steps[0].ranges == "minmax"
    assert parse("fp32").steps == ()


def test_the_placebo_trains_alike_and_does_not_prune():
    pruned, placebo = parse("prune-80(epochs=3)").steps[0], parse("placebo(prune-80(epochs=3))").steps[0]
    assert type(placebo) is FineTune
    assert placebo.epochs == pruned.epochs == 3
    assert parse("int8").placebo() is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("int9", "Did you mean 'int8'"),
        ("int8+prune-80", "quantize last"),
        ("int8(rangs=mse)", "Did you mean 'ranges'"),
        ("int8(mse)", "key=value"),
        ("placebo(int8)", "does not train"),
        ("prune-0", "greater than 0"),
        ("", "no step"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(text)


def test_the_cubic_schedule_starts_at_nothing_and_ends_at_the_sparsity():
    """Zhu and Gupta 2017: s_t = s_f + (s_i − s_f)(1 − t/T)³; half way of 80 % that is 70 %."""
    assert cubic(0.0, 0.8, 0.7) == 0.0
    assert cubic(0.35, 0.8, 0.7) == pytest.approx(0.7)
    assert cubic(0.7, 0.8, 0.7) == cubic(1.0, 0.8, 0.7) == 0.8
