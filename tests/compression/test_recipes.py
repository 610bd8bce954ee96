"""Recipes as people write them, and the one name each of them has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fairpress.compression.recipes import parse
from fairpress.compression.steps.finetune import FineTune
from fairpress.compression.steps.prune import cubic
from fairpress.core.errors import UserError


def test_steps_compose_left_to_right():
    recipe = parse("prune-80+int8")
    assert [type(s).__name__ for s in recipe.steps] == ["Prune", "Quantize"]
    assert recipe.steps[0].sparsity == 0.8
    assert parse("int4(ranges=minmax)").steps[0].weights == "minmax"
    assert parse("fp32").steps == ()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("int8", "int8"),
        ("int8(weights=mse)", "int8"),
        ("int8(keep_head=true)", "int8-fp32-head"),
        ("int8(activation_bits=32)", "w8"),
        ("w4a8", "int4"),
        ("int4(weights=auto, activations=auto)", "int4(ranges=auto)"),
        ("int4(ranges=mse)", "int4"),
        ("int2(keep=conv1|fc)", "int2(keep=conv1|fc)"),
        ("qat-int4(bits=conv1:8|fc:8, epochs=3)", "qat-int4(bits=conv1:8|fc:8,epochs=3)"),
        ("prune(sparsity=0.8)", "prune-80"),
        ("prune(sparsity=0.925)", "prune(sparsity=0.925)"),
        ("prune-80(scope=layer)", "prune-80"),
        ("prune-80(scope=global)+int8", "prune-80(scope=global)+int8"),
        ("checkpoint(epochs=1.0)", "checkpoint-1"),
        ("checkpoint(epochs=0.25)", "checkpoint(epochs=0.25)"),
        ("finetune", "placebo"),
        ("finetune+int8", "finetune+int8"),
        ("placebo(prune-50)", "placebo"),
        ("placebo(qat-int8)", "placebo"),
        ("placebo(prune-80+int8)", "placebo"),
        ("placebo(qat-int8(epochs=3))", "placebo(epochs=3)"),
        ("placebo(prune-50+prune-80)", "placebo+placebo"),
        ("placebo(prune-50(epochs=3)+qat-int8(epochs=2))", "placebo(epochs=3)+placebo(epochs=2)"),
        ("placebo(prune-50+int3(rounding=gptq))", "placebo"),
    ],
)
def test_a_recipe_has_one_name_however_it_is_written(written, name):
    recipe = parse(written)
    assert str(recipe) == name
    assert parse(name) == recipe
    assert parse(name).to_dict() == recipe.to_dict()


def test_placebos_of_equal_training_are_one_and_the_same():
    recipes = ["qat-int8", "qat-int4", "qat-int2", "prune-50", "prune-90(scope=global)", "prune-80+int8"]
    assert {str(parse(r).placebo()) for r in recipes} == {"placebo"}
    assert str(parse("qat-int8(epochs=2)").placebo()) == "placebo(epochs=2)"


def test_a_recipe_goes_on_from_the_longest_one_that_is_there():
    recipe = parse("prune-80+qat-int4")
    assert recipe.after(["fp32", "int8", "prune-50"]) == ("fp32", recipe)
    assert recipe.after(["fp32", "prune-80"]) == ("prune-80", parse("qat-int4"))
    assert parse("int8").after(["fp32", "int8"]) == ("fp32", parse("int8"))


def test_the_placebo_trains_alike_and_compresses_nothing():
    pruned, placebo = parse("prune-80(epochs=3)").steps[0], parse("placebo(prune-80(epochs=3))").steps[0]
    assert type(placebo) is FineTune
    assert placebo.epochs == pruned.epochs == 3
    for recipe in ("int8", "w4", "checkpoint-1", "placebo", "fp32"):
        assert parse(recipe).placebo() is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("int9", "Did you mean 'int8'"),
        ("qat-int5", "Did you mean 'qat-int"),
        ("int8+prune-80", "quantize last"),
        ("qat-int8+finetune", "quantize last"),
        ("int8(rangs=mse)", "Did you mean 'ranges'"),
        ("int8(mse)", "key=value"),
        ("int8(weights=best)", "'minmax', 'percentile', 'mse' or 'auto'"),
        ("int8(bits=fc)", "layer:bits"),
        ("int8(bits=fc:5)", "2, 3, 4 or 8"),
        ("placebo(int8)", "does not fine-tune"),
        ("prune-0", "greater than 0"),
        ("prune-100", "less than 1"),
        ("checkpoint-0", "greater than 0"),
        ("prune-80+checkpoint-1", "a checkpoint belongs to the baseline; write it first"),
        ("", "not a step"),
        ("placebo(int8", "not a step"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(text)


@pytest.mark.parametrize("text", ["w4a4", "qat-w8a4", "int8(activation_bits=4)"])
def test_activations_below_8_bits_are_refused_with_the_reason(text):
    with pytest.raises(
        UserError, match="an ONNX file cannot store activations of 4 bits: QuantizeLinear saturates"
    ):
        parse(text)


def test_recipes_are_read_without_torch():
    code = "import sys; from fairpress.compression.recipes import parse; parse('prune-80+int8'); parse('qat-int4')"
    code += "; parse('checkpoint-1'); sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_cubic_schedule_starts_at_nothing_and_ends_at_the_sparsity():
    """Zhu and Gupta 2017: s_t = s_f + (s_i − s_f)(1 − t/T)³; half way of 80 % that is 70 %."""
    assert cubic(0.0, 0.8, 0.7) == 0.0
    assert cubic(0.35, 0.8, 0.7) == pytest.approx(0.7)
    assert cubic(0.7, 0.8, 0.7) == cubic(1.0, 0.8, 0.7) == 0.8
