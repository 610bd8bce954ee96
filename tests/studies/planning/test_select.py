"""--only: a part of a study under the keys of the whole."""

from __future__ import annotations

import pytest

from fairpress.core.errors import UserError
from fairpress.studies.config.recipe_names import recipe_name
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.plan import plan_study
from fairpress.studies.planning.select import parse_filter, select

CONFIG = StudyConfig.model_validate(
    {
        "datasets": {"a": "compas", "b": "adult"},
        "model": "mlp",
        "recipes": ["int8", "int4(rows=64,ranges=minmax)", "prune-50"],
        "seeds": 4,
        "folds": 2,
        "networks_per_task": 4,
        "audit": {"by": ["sex"]},
    }
)
WHOLE = plan_study(CONFIG, lambda dataset, fold: f"{dataset.name}{fold}")


def chosen(*texts):
    only = parse_filter(texts, CONFIG)
    return only, select(WHOLE, only)


def test_a_recipe_may_be_written_in_any_order_of_its_options():
    assert recipe_name("int4(by=race,calibration=balanced)") == recipe_name(
        "int4(calibration=balanced,by=race)"
    )
    assert recipe_name("prune-*") == "prune-*"
    assert recipe_name("int8>ceo") == "int8>ceo"


def test_nothing_asked_for_is_everything():
    assert chosen()[1] is WHOLE


def test_a_filter_keeps_keys_and_brings_what_is_needed():
    _, part = chosen("recipe=prune-*,dataset=a")
    assert {t.key for t in part.tasks} < {t.key for t in WHOLE.tasks}
    assert {t.recipe for t in part.tasks} == {"fp32", "prune-50", "placebo"}
    assert {t.params["dataset"]["name"] for t in part.tasks} == {"compas"}
    keys = {t.key for t in part.tasks}
    assert all(set(t.inputs) <= keys for t in part.tasks)


def test_a_seed_brings_its_batch_along_and_is_reported_alone():
    only, part = chosen("seed=0..1,fold=1")
    trained = [t.networks for t in part.tasks if t.kind == "train"]
    assert trained == [((0, 0), (0, 1), (1, 0), (1, 1))] * 2
    assert [only.networks(p) for p in part.parts] == [((0, 1), (1, 1))] * 2


def test_values_of_one_key_add_up_and_parentheses_hold_their_commas():
    _, part = chosen("recipe=int8,int4(rows=64, ranges=minmax)")
    assert part.recipes == ("int8", "int4(rows=64,ranges=minmax)")
    _, same = chosen("recipe=int8", "recipe=int4*")
    assert same.recipes == part.recipes
    _, none = chosen("recipe=fp32")
    assert none.recipes == ()
    assert {t.recipe for t in none.tasks} == {"fp32"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("recipe=int9", "no recipe 'int9'. Did you mean 'int8'"),
        ("seed=4..9", "no seed '4..9'"),
        ("seeds=1", "unknown key 'seeds'. Did you mean 'seed'"),
        ("int8", "write key=value"),
        ("fold=2", "no fold '2'. Available: 0, 1"),
    ],
)
def test_what_matches_nothing_is_one_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        chosen(text)
