"""Running a graph: work that is finished stays, whatever happens to the rest."""

from __future__ import annotations

import pytest

from fairpress.store.content import DamagedEntry, Store
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
    return plan(StudyConfig.model_validate({**CONFIG, **changes}), lambda dataset, fold: f"f{fold}")


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
    assert len(done.outcome.ran) == 8 + 3  # and the joined predictions and two audits
    run_study("s", config, out=tmp_path / "b", store=tmp_path / "other", workers=1)
    written = {p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()}
    assert {str(p) for p in written} > {"predictions.parquet", "audit.json", "bias.json", "report.html"}
    for path in written:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path
    assert done.sections[0].audit.rows == 6172

    again = run_study("s", config, out=tmp_path / "a", workers=2)
    assert not again.outcome.ran
    assert again.sections == done.sections
    # A damaged result is made again where somebody needs it, with what it needs.
    store = Store(tmp_path / ".store")
    damaged = [
        next(t for t in done.tasks.values() if t.kind == "join"),
        next(t for t in done.tasks.values() if t.kind == "predict" and t.recipe == "int8"),
    ]
    for task in damaged:
        file = store.path(task.key) / "predictions.parquet"
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(DamagedEntry):
        mended = run_study("s", config, out=tmp_path / "a", workers=1)
    assert set(mended.outcome.ran) == {t.key for t in damaged}
    assert mended.sections == done.sections
