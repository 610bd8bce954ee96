"""Which networks there are, and what of them is reported when some are lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairpress.core.errors import UserError
from fairpress.models.torchvision_models import EfficientNetB0
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.dataset_facts import DataFacts
from fairpress.studies.planning.matrix import SEED_STRIDE
from fairpress.studies.planning.plan import plan_study
from fairpress.studies.planning.report_plan import plan_report
from fairpress.studies.planning.select import Filter

BASE = {
    "dataset": "compas",
    "model": "mlp",
    "recipes": ["int8", "prune-50"],
    "seeds": 4,
    "folds": 2,
    "networks_per_task": 4,
    "audit": {"by": ["sex", "race"]},
}
FACTS = DataFacts("compas", "f", "yes", {"sex": ["F", "M"], "race": ["a", "b", "c"]}, False, [], [])


def created(**changes):
    config = StudyConfig.model_validate({k: v for k, v in {**BASE, **changes}.items() if v is not None})
    layout = plan_study(config, lambda d, fold: f"f{fold}", lambda d, attribute: FACTS.groups[attribute])
    return config, layout, dict.fromkeys(config.all_datasets, FACTS)


def titles(config, layout, data, undone=()):
    return [s.title for s in plan_report(config, layout, data, Filter(), undone).sections]


def test_one_dataset_and_one_model_need_no_label():
    assert titles(*created()) == ["Compressed against the baseline", "prune-50 against its placebo"]


def test_a_fairness_aware_recipe_is_compared_with_its_plain_counterpart_and_with_its_control():
    fair = "method=fairalm,constraint=equal_opportunity,by=race"
    recipes = [
        "int4(calibration=random)",
        "int4(calibration=balanced,by=race)",
        "prune-50",
        f"prune-50({fair})",
        "finetune(method=penalty,constraint=equalized_odds,by=race)",
        "int8(ranges=auto,error=worst,by=race)",  # its counterpart is not in the study
    ]
    config, layout, data = created(recipes=recipes)
    reported = {s.title: s.intro for s in plan_report(config, layout, data, Filter()).sections}
    assert list(reported) == [
        "Compressed against the baseline",
        "int4(calibration=balanced,by=race) against int4(calibration=random)",
        f"prune-50({fair}) against prune-50",
        "prune-50 against its placebo",
        f"prune-50({fair}) against its placebo",
        "finetune(method=penalty,constraint=equalized_odds,by=race) against its placebo",
    ]
    assert "multipliers held at 0" in reported[f"prune-50({fair}) against its placebo"]
    assert "without the constraint" in list(reported.values())[-1]
    assert layout.placebo_of[f"prune-50({fair})"] == f"placebo({fair},hold=true)"


def test_a_mitigation_is_of_the_baseline_and_of_recipes():
    ceo = {"of": ["fp32", "int8"], "by": "race", "cost": "fnr"}
    config, layout, data = created(mitigations={"ceo": ceo}, placebos=False)
    assert layout.recipes == ("int8", "prune-50", "fp32>ceo", "int8>ceo")
    assert titles(config, layout, data) == ["Compressed against the baseline", "int8>ceo against int8"]
    (before,) = {t.params["mitigation"]["cost"] for t in layout.predictions("int8>ceo")}
    assert before == "fnr"
    assert [t.inputs for t in layout.predictions("int8>ceo")] == [
        t.inputs for t in layout.predictions("int8")
    ]
    with pytest.raises(UserError, match="'ceo' applies to int4, which is not a recipe of this study"):
        created(mitigations={"ceo": {**ceo, "of": ["int4"]}})


def test_several_datasets_and_models_are_every_pair():
    config, layout, data = created(
        dataset=None,
        datasets=["compas", "adult"],
        model=None,
        models={"small": {"name": "mlp", "widths": [4]}, "wide": {"name": "mlp", "widths": [64]}},
        contrasts=[{"of": "small", "against": "wide"}],
        naive=["majority"],
    )
    assert [p.label for p in layout.parts] == [
        f"{d}, {m}" for d in ("compas", "adult") for m in ("small", "wide")
    ]
    result = titles(config, layout, data)
    assert result.count("The baseline: small against wide") == 2
    assert "adult, wide · The baseline against majority" in result
    assert len({t.key for t in layout.tasks}) == len(layout.tasks)


def test_each_attribute_may_have_networks_of_its_own_from_other_seeds_on_the_same_parts():
    _, layout, _ = created(per_attribute=True)
    assert [(p.label, p.by, p.offset) for p in layout.parts] == [
        ("sex", ("sex",), 0),
        ("race", ("race",), SEED_STRIDE),
    ]
    seeds = [{s for t in layout.predictions("fp32", p.label) for s, _ in t.networks} for p in layout.parts]
    assert seeds == [{0, 1, 2, 3}, {SEED_STRIDE + s for s in range(4)}]
    fingerprints = {tuple(t.params["fingerprints"]) for t in layout.tasks}
    assert len(fingerprints) == 1


def test_each_group_may_have_networks_of_its_own_that_are_reported_together():
    config, layout, data = created(per_group=True)
    assert [len(p.cells) for p in layout.parts] == [2, 3]
    groups = {tuple(t.params["dataset"]["group"].items()) for t in layout.tasks}
    assert groups == {(("sex", g),) for g in "FM"} | {(("race", g),) for g in "abc"}
    report = plan_report(config, layout, data, Filter())
    (joined,) = report.tables["race"]
    assert joined.params["columns"][0][2] == list(range(3 * 2))  # three groups, two batches each


def test_a_lost_batch_costs_its_seeds_of_its_recipe_and_nothing_else():
    config, layout, data = created()
    lost = layout.predictions("int8")[1]  # seeds 2 and 3
    result = plan_report(config, layout, data, Filter(), {lost.key})
    assert [s.title for s in result.sections] == [
        "Compressed against the baseline (seeds 0, 1 only)",
        "Compressed against the baseline",
        "prune-50 against its placebo",
    ]
    audits = [s.task.params["audit"]["compressed"] for s in result.sections]
    assert audits == [["int8"], ["prune-50"], ["prune-50"]]
    assert lost.key not in {k for t in result.tasks for k in t.inputs}
    columns = [[name for name, _, _ in t.params["columns"]] for t in result.tables[""]]
    assert columns == [
        ["fp32", "prune-50", "placebo"],
        ["fp32", "int8", "prune-50", "placebo"],
    ]


def test_without_a_baseline_there_is_no_section():
    config, layout, data = created()
    assert titles(config, layout, data, {t.key for t in layout.predictions("fp32")}) == []


def test_people_with_several_rows_are_the_unit_of_the_audit():
    config, layout, data = created()
    several = {k: replace(v, repeated=True) for k, v in data.items()}
    subjects = [
        plan_report(config, layout, d, Filter()).sections[0].task.params["audit"]["subject"]
        for d in (data, several)
    ]
    assert subjects == [None, "subject"]


def test_the_folder_of_a_users_table_is_not_in_the_keys():
    keys = [
        {t.key for t in created(dataset={"name": name})[1].tasks} for name in ("here/t.yaml", "/there/t.yaml")
    ]
    # What is in it is in the fingerprint.
    assert keys[0] == keys[1]


def test_a_network_that_starts_otherwise_is_another_result_and_leaves_other_networks_where_they_are(
    monkeypatch,
):
    faces = {"dataset": {"name": "utkface", "target": "sex"}, "seeds": 1, "folds": None}

    def keys(name, recipe="int8"):
        layout = created(**faces, model=name, recipes=[recipe], audit={"by": ["race"]}, networks_per_task=1)[
            1
        ]
        return {t.kind: t.key for t in layout.tasks if t.recipe == recipe or t.kind == "train"}

    student = "distill(into=efficientnet_b0)"

    before = {name: keys(name) for name in ("efficientnet_b0", "resnet18")}
    taught = keys("resnet18", student)
    monkeypatch.setattr(EfficientNetB0, "version", EfficientNetB0.version + 1)
    assert keys("resnet18") == before["resnet18"]
    assert all(keys("efficientnet_b0")[kind] != key for kind, key in before["efficientnet_b0"].items())
    after = keys("resnet18", student)
    assert after["train"] == taught["train"]
    assert after["compress"] != taught["compress"]
