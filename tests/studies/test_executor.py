"""Running a graph: work that is finished stays, whatever happens to the rest."""

from __future__ import annotations

import pytest

from fairpress.store.content import DamagedEntry, Store
from fairpress.studies import executor
from fairpress.studies.config import StudyConfig
from fairpress.studies.plan import plan
from fairpress.studies.run import run_study

CONFIG = {
    "dataset": "compas",
    "model": {"name": "mlp", "widths": [8, 8]},
    "training": {"max_epochs": 2},
    "recipes": ["int8", "prune-50(epochs=1)"],
    "seeds": 2,
    "folds": 2,
    "audit": {"by": ["sex"]},
}


def layout(**changes):
    config = StudyConfig.model_validate({**CONFIG, **changes})
    return plan(config, dict.fromkeys(range(config.folds), "f"))


def test_a_plan_has_inputs_before_readers_and_a_placebo_for_what_trains():
    tasks = layout().tasks
    seen = set()
    for task in tasks:
        assert set(task.inputs) <= seen
        seen.add(task.key)
    assert {t.recipe for t in tasks} == {"fp32", "int8", "prune-50(epochs=1)", "placebo(prune-50(epochs=1))"}


def test_keys_depend_on_what_results_depend_on_and_on_nothing_else():
    keys = {t.key for t in layout().tasks}
    assert keys == {t.key for t in layout(title="another title").tasks}
    assert not keys & {t.key for t in layout(training={"max_epochs": 3}).tasks}
    # Audit options change no network.
    assert keys == {t.key for t in layout(audit={"by": ["race"]}).tasks}


@pytest.mark.slow
def test_a_study_runs_resumes_after_damage_and_gives_the_same_with_any_number_of_workers(
    data_folder, tmp_path
):
    config = StudyConfig.model_validate(CONFIG)
    done = run_study("s", config, out=tmp_path / "a", workers=2)
    assert done.outcome.complete
    assert len(done.outcome.ran) == 8
    other = run_study("s", config, out=tmp_path / "b", store=tmp_path / "other", workers=1)
    same = [(tmp_path / f / "predictions.parquet").read_bytes() for f in "ab"]
    assert same[0] == same[1]
    assert (tmp_path / "a" / "audit.json").read_bytes() == (tmp_path / "b" / "audit.json").read_bytes()
    assert other.sections[0].audit.rows == 6172

    again = run_study("s", config, out=tmp_path / "a", workers=2)
    assert not again.outcome.ran
    store = Store(tmp_path / ".store")
    key = next(t.key for t in plan_of(config).tasks if t.kind == "predict" and t.recipe == "int8")
    (store.path(key) / "predictions.parquet").write_bytes(b"damaged")
    with pytest.warns(DamagedEntry):
        mended = run_study("s", config, out=tmp_path / "a", workers=1)
    assert list(mended.outcome.ran) == [key]


def plan_of(config):
    from fairpress import datasets

    return plan(config, {f: datasets.load("compas", folds=2, fold=f).fingerprint for f in range(2)})


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_a_failing_task_does_not_stop_the_others(tmp_path, monkeypatch):
    from saboteur import perform

    monkeypatch.setattr(executor, "perform", perform)
    tasks = layout(recipes=["int8"]).tasks  # train, predict fp32, compress, predict int8
    crash_once, fail = tasks[0], tasks[2]
    (tmp_path / crash_once.key).write_text("kill once")
    (tmp_path / fail.key).write_text("raise")
    outcome = executor.execute(tasks, Store(tmp_path), workers=2)
    assert set(outcome.ran) == {tasks[0].key, tasks[1].key}
    assert outcome.failed == {fail.key: "ValueError: broken on purpose"}
    assert [t.key for t in outcome.skipped] == [tasks[3].key]


@pytest.mark.slow
def test_a_task_that_kills_its_process_twice_is_reported(tmp_path, monkeypatch):
    from saboteur import perform

    monkeypatch.setattr(executor, "perform", perform)
    tasks = layout(recipes=["int8"]).tasks
    (tmp_path / tasks[2].key).write_text("kill always")
    outcome = executor.execute(tasks, Store(tmp_path), workers=2)
    assert "killed twice" in outcome.failed[tasks[2].key]
    assert set(outcome.ran) == {tasks[0].key, tasks[1].key}
