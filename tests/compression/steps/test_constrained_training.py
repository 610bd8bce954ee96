"""Recipes that train under a constraint: names, controls, and networks as one batch or alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fairpress as fp
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from trained import easy, random_group_batches, residual

FAIR = "method=fairalm,constraint=equal_opportunity,by=sex"
FEW = "epochs=1,batch_size=32"


@pytest.mark.parametrize(
    ("written", "name", "control"),
    [
        (
            "qat-int4(method=fairalm, constraint=equal_opportunity, by=race)",
            "qat-int4(method=fairalm,constraint=equal_opportunity,by=race)",
            "placebo(method=fairalm,constraint=equal_opportunity,by=race,hold=true)",
        ),
        (
            "prune-80(method=penalty, constraint=equalized_odds, by=sex*race, strength=2)+int8",
            "prune-80(method=penalty,constraint=equalized_odds,by=sex*race,strength=2)+int8",
            "placebo",
        ),
        ("qat-int8(method=ceag,by=race,epochs=3)", "qat-int8(method=ceag,by=race,epochs=3)", "placebo(epochs=3)"),
        (
            f"finetune({FAIR},variant=celeba)",
            f"finetune({FAIR},variant=celeba)",
            f"placebo({FAIR},variant=celeba,hold=true)",
        ),
    ],
)  # fmt: skip
def test_a_constrained_recipe_has_one_name_and_a_control(written, name, control):
    recipe = parse(written)
    assert str(recipe) == name
    assert parse(str(recipe)) == recipe
    assert recipe.placebo() == parse(control)
    assert parse(str(recipe.placebo())) == recipe.placebo()
    assert str(parse(f"placebo({written})")) == str(recipe.placebo())


def test_options_that_belong_to_another_method_are_refused():
    with pytest.raises(UserError, match="needs a sensitive attribute, such as by=race"):
        parse("qat-int8(method=fairalm,constraint=equal_opportunity)")
    for recipe in ("finetune(by=race)", "prune-50(by=race)", "qat-int8(by=race)"):
        with pytest.raises(UserError, match="by needs"):
            parse(recipe)
    with pytest.raises(UserError, match="tolerance belongs to method=ceag"):
        parse(f"qat-int8({FAIR},tolerance=0.1)")


@pytest.mark.parametrize("step", ["qat-int4", "prune-50", "finetune"])
def test_small_networks_with_a_step_of_zero_are_those_without_a_constraint(step):
    data, bases = easy()
    plain = fp.compress(bases[0], f"{step}({FEW})", data=data[0])
    for how in (
        f"{FAIR},step=0",
        "method=penalty,constraint=demographic_parity,by=sex,strength=0",
        "method=ceag,by=sex,step=0",
    ):
        same = fp.compress(bases[0], f"{step}({FEW},{how})", data=data[0])
        assert same.digest == plain.digest
        assert same.card.provenance["details"]["fairness"]["groups"] == ["Female", "Male"]
    moved = fp.compress(bases[0], f"{step}({FEW},{FAIR},step=1)", data=data[0])
    assert moved.digest != plain.digest
    assert np.ptp(moved.card.provenance["details"]["fairness"]["multipliers"][0]) > 0


def test_ceag_knows_what_the_dense_network_got_right():
    data, bases = easy()
    created = fp.compress(bases[0], f"prune-80({FEW},method=ceag,by=sex)", data=data[0])
    rows = data[0].part("train")
    reported = created.card.provenance["details"]["fairness"]["dense_accuracy"]
    table = fp.predict({"fp32": bases[0]}, replace(data[0], parts={"test": data[0].parts["train"]}))
    right = np.array(table["fp32"]) == np.array(table["label"])
    expected = [right[rows.attributes["sex"] == group].mean() for group in ("Female", "Male")]
    assert reported == pytest.approx(expected)


def test_networks_that_train_alone_are_constrained_alike():
    step, few = "qat-int8", "epochs=1,batch_size=64"
    plain = fp.compress(residual(), f"{step}({few})", data=random_group_batches())
    how = "method=fairalm,constraint=equalized_odds,by=group"
    same = fp.compress(residual(), f"{step}({few},{how},step=0)", data=random_group_batches())
    assert same.digest == plain.digest
    moved = fp.compress(residual(), f"{step}({few},{how},variant=celeba)", data=random_group_batches())
    reported = moved.card.provenance["details"]["fairness"]
    assert moved.digest != plain.digest
    assert np.array(reported["multipliers"]).shape == (2, 2)
    assert reported["step"] == pytest.approx(20.2)


@pytest.mark.parametrize(
    ("recipe", "plain"),
    [
        ("int4", None),
        ("prune-80+int8", None),
        ("int4(calibration=balanced,by=race,draw=2)", "int4(calibration=random,draw=2)"),
        ("int4(ranges=auto,error=worst,by=race)", "int4(ranges=auto)"),
        (f"qat-int4({FAIR},epochs=3)", "qat-int4(epochs=3)"),
        (f"qat-int4({FAIR},calibration=balanced-label)", "qat-int4(calibration=random)"),
        (f"prune-80({FAIR})+int8(calibration=balanced)", "prune-80+int8(calibration=random)"),
        (f"finetune({FAIR})", "placebo"),
    ],
)
def test_what_a_recipe_is_without_what_it_does_for_fairness(recipe, plain):
    result = parse(recipe).plain()
    assert result == (None if plain is None else parse(plain))
