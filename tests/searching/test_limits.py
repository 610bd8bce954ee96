"""What a user asks is understood, or refused with the remedy, before any work is done."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.searching import search_space
from fairpress.searching.budget import Budget, parse_budget
from fairpress.searching.eligible_groups import attributes_of, judging_plan, min_rows_for
from fairpress.searching.limits import check_rates, limits_of
from fairpress.searching.row_split import split_rows
from made_dataset import make_dataset


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"max_dpgap": 0.1}, "unknown key 'max_dpgap'. Did you mean 'max_dp_gap'"),
        ({"max_group_loss": 2}, "max_group_loss: must be less than 1"),
        ({"max_bytes": 1000}, "no limit is set on any group"),
        ({}, "no limit is set on any group"),
    ],
)
def test_a_limit_that_is_none_is_refused(message, sentence):
    with pytest.raises(UserError, match=sentence):
        limits_of(message)


def test_rates_of_a_positive_class_are_not_limited_where_there_is_none():
    check_rates(limits_of({"max_accuracy_gap": 0.1, "max_group_loss": 0.02}), None)
    with pytest.raises(UserError, match="max_eo_gap_rise needs a positive class"):
        check_rates(limits_of({"max_eo_gap_rise": 0.1}), None)


@pytest.mark.parametrize(
    ("text", "seconds", "trials"),
    [("30min", 1800, None), ("90s", 90, None), ("2h", 7200, None), ("40", None, 40), ("8 trials", None, 8)],
)
def test_a_budget_is_a_time_or_a_number(text, seconds, trials):
    budget = parse_budget(text)
    assert (budget.seconds, budget.trials) == (seconds, trials)


@pytest.mark.parametrize("text", ["", "soon", "0", "-3min", "1.5", "30 weeks"])
def test_another_budget_is_refused(text):
    with pytest.raises(UserError, match="neither a time"):
        parse_budget(text)


def test_a_budget_says_what_is_left():
    now = 0.0
    timed = Budget(seconds=600, reserve=60, clock=lambda: now)
    counted = Budget(trials=5, clock=lambda: now)
    assert counted.describe_rest() == Budget().describe_rest() == ""
    now, counted.used = 90.0, 2
    assert timed.describe_rest() == "; at most 8 min left for more"
    assert counted.describe_rest() == "; 3 more to try, about 2 min left"
    counted.used = 5
    assert counted.describe_rest() == ""


def test_a_budget_keeps_time_for_judging():
    now = 0.0
    budget = Budget(seconds=100, reserve=30, clock=lambda: now)
    now = 60.0
    assert budget.left == 10
    assert not budget.over
    now = 71.0
    assert budget.over


def test_choosing_and_judging_rows_share_nobody_and_leave_test_rows_alone():
    data = make_dataset(4000)
    people = np.array([f"p{i // 4}" for i in range(4000)])
    order = np.random.default_rng(0).permutation(1000)
    parts = {
        name: np.flatnonzero(np.isin(people, [f"p{i}" for i in own]))
        for name, own in zip(
            ("train", "calibration", "validation", "test"), np.split(order, [400, 700, 850]), strict=True
        )
    }
    rows = split_rows(replace(data, subjects=people, parts=parts), max_rows=512)
    sets = [rows.choosing, rows.judging, parts["train"], parts["test"]]
    for i, one in enumerate(sets):
        for other in sets[i + 1 :]:
            assert not set(people[one]) & set(people[other])
    assert 512 <= len(rows.choosing) < 520
    assert len(rows.choosing) + len(rows.judging) == 4 * 450
    assert set(rows.recipe_data.parts) == {"train", "calibration", "validation"}
    assert set(np.concatenate(list(rows.recipe_data.parts.values()))) & set(rows.judging) == set()


def test_data_without_validation_rows_are_refused():
    data = make_dataset()
    parts = {k: v for k, v in data.parts.items() if k != "validation"}
    with pytest.raises(UserError, match="has no validation rows, and a search needs them"):
        split_rows(replace(data, parts=parts))


def test_groups_with_too_few_rows_are_named_and_judged_together():
    data = make_dataset(2000)
    race = np.array(["a"] * 1697 + ["b"] * 150 + ["c"] * 150 + ["d"] * 3)
    data = replace(data, attributes={"race": np.random.default_rng(0).permutation(race)})
    requested = judging_plan(
        limits_of({"max_group_loss": 0.05}), ("race",), data, split_rows(data).judging, 25, 0.95
    )
    small = {"race = b", "race = c", "race = d"}
    called, members = requested.pooled["race", "accuracy"]
    assert {who for who, metric, _ in requested.too_few if metric == "accuracy"} == members == small
    assert called == "the 3 groups of race with too few rows, together"
    assert set(requested.rows["race", "accuracy"]) == {"race = a", called}
    # The largest label × group is far from enough on the side of the small ones.
    assert set(requested.rows["race", "tpr"]) == {"race = a"}


def test_what_cannot_be_judged_of_anybody_is_refused():
    data = make_dataset()
    rows = split_rows(data)
    with pytest.raises(UserError, match="no limit could be demonstrated for any group"):
        judging_plan(limits_of({"max_group_loss": 0.02}), ("sex",), data, rows.judging, 366, 0.95)
    data = replace(data, attributes={"sex": np.array(["Female"] * len(data))})
    with pytest.raises(UserError, match="no two of sex have 20 rows"):
        judging_plan(limits_of({"max_dp_gap": 0.1}), ("sex",), data, rows.judging, 20, 0.95)


def test_age_stands_for_age_group_and_an_absent_attribute_is_refused():
    data = make_dataset()
    data = replace(data, attributes={**data.attributes, "age_group": data.attributes["sex"]})
    assert attributes_of(["age", "sex*age"], data) == ("age_group", "sex*age_group")
    with pytest.raises(UserError, match="no sensitive attribute 'race'"):
        attributes_of(["race"], data)


def test_the_rows_needed_to_be_judged_follow_the_limit():
    assert min_rows_for(limits_of({"max_group_loss": 0.02}), 0.95) == 366
    assert min_rows_for(limits_of({"max_group_loss": 0.05}), 0.95) == 104
    assert min_rows_for(limits_of({"max_dp_gap": 0.05}), 0.95) == 100


def test_everything_that_may_be_tried_is_a_recipe():
    optuna = pytest.importorskip("optuna")
    sizes = {8: 40_000, 4: 25_000, 2: 18_000}
    planned = [
        *search_space.cheap_recipes(None, ["race"]),
        *search_space.cheap_recipes(8, ["sex*race"]),
        *search_space.mixed_recipes(sizes, 10**6, ["race"]),
        *search_space.expensive_recipes(None, ["race"], kind="images"),
        *search_space.expensive_recipes(None, ["race"], kind="table", students=True),
        *search_space.cheap_recipes(None, ["language"], "text"),
        *search_space.expensive_recipes(None, ["language"], "text", students=True),
    ]
    names = [str(parse(p.recipe)) for p in planned]
    assert len(names) > 30
    eight = [p.recipe for p in search_space.cheap_recipes(8, ["race"])]
    assert not any("rounding" in recipe for recipe in eight)
    assert {"int4(rounding=gptq)", "w2(rounding=gptq,bits=first:8|last:8)"} <= set(names)
    below = [p.recipe for p in search_space.mixed_recipes(sizes, 20_000, ["race"])]
    assert below == ["mixed(rounding=gptq,budget=19750)"]
    three = [p.recipe for p in search_space.mixed_recipes(sizes | {3: 21_000}, 21_000, ["race"])]
    assert [r for r in three if "preserve" not in r] == [
        f"mixed(rounding=gptq,budget={budget})" for budget in (20_250, 19_500, 18_750)
    ]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    sampled = {
        search_space.sampled_recipe(study.ask(), ["sex", "race"], sizes, kind="images", train=True)
        for _ in range(200)
    }
    kinds = {re.match(r"(prune-channels-\d+\(\S+?\)\+)?([a-z]+)", str(parse(text)))[2] for text in sampled}
    assert kinds == {"int", "w", "qat", "mixed"}
    compensated = {text for text in sampled if "rounding=gptq" in text}
    assert compensated
    assert all(re.search(r"(^|\+)((int|w)[234]|mixed)\(", text) for text in compensated)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    sampled = {
        str(
            parse(
                search_space.sampled_recipe(
                    study.ask(), ["sex"], sizes, kind="table", train=True, students=True
                )
            )
        )
        for _ in range(200)
    }
    assert {"distill", "qat", "mixed"} <= {re.match("[a-z]+", text)[0] for text in sampled}


def test_models_of_texts_also_lose_pieces_heads_and_layers_and_no_channels():
    optuna = pytest.importorskip("optuna")
    by = ["language"]
    planned = [p.recipe for p in search_space.cheap_recipes(None, by, "text")]
    assert "trim-vocabulary-50(by=language)+w4" in planned
    # The first layer is the embedding table, most of the weights: with 8 bits it would be a larger file than w4.
    assert "w2(rounding=gptq,bits=first:4|last:8)" in planned
    assert not any("first:8" in text for text in planned)
    planned += [p.recipe for p in search_space.expensive_recipes(None, by, "text", students=True)]
    assert {"prune-heads-50(epochs=1)+int8", "distill(layers=1,epochs=4)+int4"} <= set(planned)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    planned += [
        search_space.sampled_recipe(
            study.ask(), by, {8: 40_000, 4: 25_000, 2: 18_000}, "text", train=True, students=True
        )
        for _ in range(100)
    ]
    assert not any("widths" in text or "channels" in text for text in planned)
    steps = {type(step).__name__ for text in planned for step in parse(text).steps}
    assert {"TrimVocabulary", "PruneHeads", "Distill", "TrainQuantized", "Quantize"} <= steps
