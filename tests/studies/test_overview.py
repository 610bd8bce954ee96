"""`study plan`: what is there, what will run, how long it took; nothing is changed by looking."""

from __future__ import annotations

import json

import pytest

from fairpress.store.local import Store
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.overview import overview
from fairpress.studies.planning.prepare import prepare

CONFIG = {
    "dataset": "compas",
    "model": "mlp",
    "recipes": ["int8"],
    "seeds": 20,
    "audit": {"by": ["sex"]},
}


@pytest.fixture
def ready(data_folder, tmp_path):
    return prepare(StudyConfig.model_validate(CONFIG), Store(tmp_path), remember=False)


def test_a_plan_is_a_graph_of_what_is_there_and_what_is_to_run(ready, tmp_path):
    store = Store(tmp_path)
    assert not list(tmp_path.iterdir())  # looking writes nothing
    lines = overview(ready, store, workers=2).lines
    assert {line.state for line in lines} == {"to run"}
    assert [(line.kind, line.depth) for line in lines[:4]] == [
        ("train", 0),
        ("predict", 1),
        ("compress", 1),
        ("predict", 2),
    ]
    train = [t for t in ready.tasks if t.kind == "train"]
    meta = {"kind": "train", "recipe": "fp32", "dataset": "compas", "networks": 10, "seconds": 12.0}
    store.put(train[0].key, {"x": b"1"}, meta)
    result = overview(ready, store, workers=2)
    first, other = (next(x for x in result.lines if x.key == t.key) for t in train)
    assert (first.state, first.seconds) == ("done", 12.0)
    assert (other.state, other.about) == ("to run", 12.0)  # one of the same kind and size took so long
    assert result.expected is None  # nobody knows how long compressing takes
    (store.path(train[0].key) / "x").write_bytes(b"2")
    assert next(x for x in overview(ready, store).lines if x.key == train[0].key).state == "damaged"
    assert store.has(train[0].key)


def test_the_expected_time_is_the_work_over_the_workers_or_the_longest_chain(ready, tmp_path):
    store = Store(tmp_path)
    for i, task in enumerate(ready.tasks):
        meta = {
            "kind": task.kind,
            "recipe": task.recipe,
            "dataset": task.params.get("dataset", {}).get("name", ""),
            "networks": len(task.networks),
            "seconds": 10.0,
        }
        store.put(f"{i:064x}", {}, meta)  # others like each of them
    # 2 batches × (train, predict, compress, predict), a join and an audit; a chain of train … audit is 5 long.
    assert overview(ready, store, workers=2).expected == 50.0
    assert overview(ready, store, workers=1).expected == 100.0


def test_the_command_prints_it(data_folder, tmp_path, monkeypatch, capsys):
    from fairpress import cli

    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["--json"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["study", "plan", "compas", "--only", "recipe=int8,seed=0", *arguments])
        assert stop.value.code == 0
    text, _, json_ = capsys.readouterr().out.partition("{")
    assert "to run            train fp32 (seeds 0–4, folds 0–4)" in text
    assert "8 tasks, 0 done, 8 to run" in text
    assert len(json.loads("{" + json_)["lines"]) == 8
    assert not list(tmp_path.iterdir())
