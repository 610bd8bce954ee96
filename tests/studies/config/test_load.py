"""A study's file: what is wrong in it is said at once, with its place, before any data is looked at."""

from __future__ import annotations

import json

import pytest
from ruamel.yaml import YAML

from fairpress.auditing.options import AuditOptions
from fairpress.auditing.result import Margin
from fairpress.core.errors import UserError
from fairpress.studies.config.json_schema import schema
from fairpress.studies.load import bundled_studies, load
from fairpress.studies.planning.dataset_facts import DataFacts
from fairpress.studies.planning.plan import plan_study
from fairpress.studies.planning.report_plan import plan_report
from fairpress.studies.planning.select import parse_filter
from fairpress.studies.report.manifest import manifest_text

BAD = """\
dataset: {name: compas, filtr: none, folds: 3}
model: {name: mlpp}
sedes: 4
recipes: [int8, int9, prune-80(epoch=3), "int8+int4"]
training: {max_epoch: 3}
audit:
  by: [sex, rase, "sex*agegroup"]
  margin: 3
contrasts: [{of: a, agains: b}]
"""
SAID = """\
override 'seeds=0': seeds: at least one seed is needed.
s.yaml:1:25: unknown key 'dataset.filtr'. Did you mean 'filter'?
s.yaml:1:38: 'folds' is not an option of a dataset in a study; set `folds` of the study.
s.yaml:2:9: there is no model 'mlpp'. Did you mean 'mlp'?
s.yaml:3:1: unknown key 'sedes'. Did you mean 'seeds'?
s.yaml:4:17: there is no recipe 'int9'. Did you mean 'int8'?
s.yaml:4:23: recipe 'prune-80(epoch=3)': unknown key 'epoch'. Did you mean 'epochs'?
s.yaml:4:42: recipe 'int8+int4': no step can follow quantization; quantize last.
s.yaml:5:12: unknown key 'training.max_epoch'. Did you mean 'max_epochs'?
s.yaml:7:13: 'compas' has no sensitive attribute 'rase'. Did you mean 'race'?
s.yaml:7:19: 'compas' has no sensitive attribute 'agegroup'. Did you mean 'age_group'?
s.yaml:8:3: audit.margin: the margin must be below 1, not 3; for 3 percentage points write 0.03 or 3pp.
s.yaml:9:13: the key 'contrasts.0.against' is missing.
s.yaml:9:21: unknown key 'contrasts.0.agains'. Did you mean 'against'?"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="s.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return name

    return write


def study(**keys):
    base = {"dataset": "compas", "model": "mlp", "recipes": "[int8]", "audit": "{by: [sex]}"}
    return "".join(f"{k}: {v}\n" for k, v in {**base, **keys}.items() if v is not None)


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_its_lines(write):
    with pytest.raises(UserError) as error:
        load(write(BAD), ["seeds=0"])
    assert str(error.value) == SAID


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (study(datasets="[adult]"), r"s.yaml: give either `dataset` or `datasets`"),
        (study(model=None), "give either `model` or `models`"),
        (study(dataset=None, datasets="[compas, adlt]"), r"s.yaml:4:20: there is no dataset 'adlt'.*'adult'"),
        (study(dataset=None, datasets="{a b: compas}"), "'a b' cannot be a label"),
        (study(dataset=None, datasets="[compas, compas]"), "duplicate entry"),
        (study(seeds="two"), "seeds: give the number of seeds"),
        (study(seeds="[1, 1]"), "duplicate entry"),
        (study(seeds="[-1]"), "a seed must be between 0"),
        (study(seeds="[99999999999999999999]"), r"a seed must be between 0 and 2\*\*63 - 1"),
        (study(seeds="100000000"), "a study has at most 10,000 seeds"),
        (study(device="gpu"), "'gpu' is not a device; use cpu, cuda"),
        (study(model="{name: mlp, widths: [8, -1]}"), r"widths.1: must be greater than 0"),
        ("- compas", "expected `key: value` lines, found a list"),
        ("", "expected `key: value` lines, found nothing"),
        (study(naive="[oracle]"), "naive.0: must be 'majority' or 'lookup-by-person'"),
        (study(contrasts="[{of: compas, against: adult}]"), "must name two datasets or two models"),
        (study(per_attribute="true", per_group="true"), "`per_attribute` and `per_group` exclude each other"),
        (
            study(dataset="{name: compas, training: {epochs: 3}}"),
            r"s.yaml:1:36: unknown key 'dataset.training.epochs'",
        ),
        (
            study(model="{name: mlp, training: {epochs: 3}}"),
            r"s.yaml:2:\d+: unknown key 'model.training.epochs'",
        ),
        (study(dataset="{name: compas, by: [rac]}"), r"s.yaml:1:30: .*no sensitive attribute 'rac'"),
        (
            study(recipes='["int4(calibration=balanced,by=sex*rase)"]'),
            r"s.yaml:3:11: 'compas' has no sensitive attribute 'rase'. Did you mean 'race'",
        ),
        (
            study(mitigations="{ceo: {by: rase, cost: fnr}}"),
            r"s.yaml:5:21: 'compas' has no sensitive attribute 'rase'",
        ),
        (study(mitigations="{ceo: {by: race, constraint: equalized_odds}}"), "has no option .constraint."),
        (study(dataset="absent.yaml"), r"(there is no file absent\.yaml|absent\.yaml does not exist)"),
    ],
)
def test_one_clear_sentence_for(text, sentence, write):
    with pytest.raises(UserError, match=sentence):
        load(write(text))


def test_one_dataset_and_several_are_written_alike(write):
    _, one = load(write(study(dataset="{name: compas, filter: none}")))
    assert {k: v.options for k, v in one.all_datasets.items()} == {"compas": {"filter": "none"}}
    _, several = load(write(study(dataset=None, datasets="{a: compas, b: {name: adult, by: [race]}}")))
    assert [(k, v.name, v.by) for k, v in several.all_datasets.items()] == [
        ("a", "compas", None),
        ("b", "adult", ("race",)),
    ]
    _, listed = load(write(study(dataset=None, datasets="[compas, adult]")))
    assert list(listed.all_datasets) == ["compas", "adult"]


def test_a_table_is_looked_for_beside_its_study_and_what_is_wrong_in_it_is_said_in_its_own_lines(write):
    write("path: t.csv\nlabel: y\npositive: 1\nfeatures: [a]\nsensitive: [sex]\n", "in/table.yaml")
    path = write(study(dataset="table.yaml"), "in/s.yaml")
    _, config = load(path)
    assert config.dataset.name == "in/table.yaml"
    with pytest.raises(UserError, match=r"in/s.yaml:4:14: 'in/table.yaml' has no sensitive attribute 'race'"):
        load(write(study(dataset="table.yaml", audit="{by: [race]}"), "in/s.yaml"))
    write("path: t.csv\nlabl: y\nfeatures: [a]\nsensitive: [sex]\n", "in/table.yaml")
    with pytest.raises(UserError, match=r"in/table.yaml:2:1: unknown key 'labl'. Did you mean 'label'"):
        load(path)


def test_the_json_schema_takes_what_ships_and_refuses_what_check_refuses():
    from importlib.resources import files

    import jsonschema

    jsonschema.Draft202012Validator.check_schema(schema())
    judge = jsonschema.Draft202012Validator(schema())
    folder = files("fairpress.studies") / "bundled"
    for name in bundled_studies():
        assert judge.is_valid(YAML(typ="safe").load((folder / f"{name}.yaml").read_text())), name
    good = {"dataset": "compas", "model": "mlp", "recipes": ["int8"], "audit": {"by": ["sex"]}}
    assert judge.is_valid(good)
    several = {k: v for k, v in good.items() if k != "model"}
    assert judge.is_valid({**several, "models": {"a-b": "mlp"}})
    assert not judge.is_valid({**several, "models": {"a/b": "mlp"}})
    for bad in (
        {"sedes": 3},
        {"dataset": "compass"},
        {"dataset": {"name": "compas", "filtr": "none"}},
        {"dataset": {"name": "compas", "folds": 3}},
        {"model": {"name": "mlp", "width": [3]}},
        {"seeds": 0},
        {"datasets": ["adult"]},
        {"training": {"epochs": 3}},
        {"audit": {"by": []}},
        {"audit": {"by": ["sex"], "harm": "tpr"}},
        {"audit": {"by": ["sex"], "margin": {"tpr": 0.01}}},
    ):
        assert not judge.is_valid({**good, **bad}), bad


def test_the_study_of_faces_asks_for_every_width_and_keeps_forty_percent_for_testing():
    name, config = load("faces")
    assert (name, config.dataset.name, len(config.seeds)) == ("faces", "utkface", 6)
    assert {str(r).partition("(")[0] for r in config.recipes} == {
        *("int8", "int4", "int2", "qat-int8", "qat-int4", "qat-int2")
    }
    assert config.placebos
    assert config.audit.by == ("race", "age_group")


def test_the_error_that_decides_and_its_margin_reach_the_audits_and_the_record(write, tmp_path):
    """Both are options of the audit; the keys of trained networks do not depend on them."""
    _, plain = load(write(study()))
    assert (plain.audit.harm, plain.audit.margin) == ("error", 0.02)
    _, config = load(write(study(audit="{by: [sex], harm: fnr, margin: 0.05}")))
    facts = DataFacts("compas", "f", "yes", {"sex": ["F", "M"]}, False, [], [])
    selection = parse_filter((), config)
    options, trained = [], []
    for each in (plain, config):
        layout = plan_study(each, lambda dataset, fold: "f")
        report = plan_report(each, layout, {"compas": facts}, selection)
        options.append(AuditOptions(**next(t for t in report.tasks if t.kind == "audit").params["audit"]))
        trained.append([t.key for t in layout.tasks])
    assert [(o.harm, o.margin["default"].value) for o in options] == [("error", 0.02), ("fnr", 0.05)]
    assert trained[0] == trained[1]
    assert json.loads(manifest_text(config))["audit"] == {
        "by": ["sex"],
        "harm": "fnr",
        "margin": 0.05,
        "confidence": 0.95,
    }


def test_an_error_that_does_not_exist_is_named(write):
    with pytest.raises(UserError, match=r"audit\.harm"):
        load(write(study(audit="{by: [sex], harm: tpr}")))


def test_margins_by_error_with_their_reasons_reach_the_audit(write):
    import jsonschema

    text = "{by: [sex], margin: {error: 1pp, fnr: {margin: 5% of baseline, reason: agreed}}}"
    _, config = load(write(study(audit=text)))
    layout = plan_study(config, lambda dataset, fold: "f")
    facts = DataFacts("compas", "f", "yes", {"sex": ["F", "M"]}, False, [], [])
    report = plan_report(config, layout, {"compas": facts}, parse_filter((), config))
    (task,) = [t for t in report.tasks if t.kind == "audit"]
    options = AuditOptions(**json.loads(json.dumps(task.params["audit"])))
    assert options.margin["error"] == Margin(0.01)
    assert options.margin["fnr"] == Margin(0.05, relative=True, reason="agreed")
    judge = jsonschema.Draft202012Validator(schema())
    good = {"dataset": "compas", "model": "mlp", "recipes": ["int8"]}
    for margin in ("2pp", [0.02, "fnr=0.05"], {"default": 0.01}, {"fnr": {"margin": 0.05, "reason": "law"}}):
        assert judge.is_valid({**good, "audit": {"by": ["sex"], "margin": margin}}), margin
    with pytest.raises(UserError, match=r"audit\.margin.*two readings"):
        load(write(study(audit="{by: [sex], margin: 2%}")))
