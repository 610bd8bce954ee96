"""Running a graph: work that is finished stays, whatever happens to the rest."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fairpress.core.errors import UserError
from fairpress.datasets import load
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.predict import predictions
from fairpress.store.local import DamagedEntry, Store
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.plan import plan_study
from fairpress.studies.report.export_models import export
from fairpress.studies.report.rewrite import report_again
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
    return plan_study(StudyConfig.model_validate({**CONFIG, **changes}), lambda dataset, fold: f"f{fold}")


def test_a_plan_has_inputs_before_readers_and_a_placebo_for_what_trains():
    tasks = layout().tasks
    seen = set()
    for task in tasks:
        assert set(task.inputs) <= seen
        seen.add(task.key)
    assert {t.recipe for t in tasks} == {"fp32", "int8", "prune-50(epochs=1)", "placebo(epochs=1)"}


def test_keys_depend_on_what_results_depend_on_and_on_nothing_else():
    keys = {t.key for t in layout().tasks}
    assert keys == {t.key for t in layout(title="another title").tasks}
    assert not keys & {t.key for t in layout(training={"max_epochs": 3}).tasks}
    assert not keys & {t.key for t in layout(model={**CONFIG["model"], "training": {"max_epochs": 3}}).tasks}
    # Audit options change no network.
    assert keys == {t.key for t in layout(audit={"by": ["race"]}).tasks}


@pytest.mark.slow
def test_a_study_runs_resumes_after_damage_and_gives_the_same_with_any_number_of_workers(
    data_folder, tmp_path, monkeypatch
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

    # The report is written again, byte for byte, from what is kept; and not from what is not.
    before = {path: (tmp_path / "a" / path).read_bytes() for path in written}
    for name in ("report.html", "predictions.parquet"):
        (tmp_path / "a" / name).unlink()
    assert report_again(tmp_path / "a").sections == done.sections
    assert {path: (tmp_path / "a" / path).read_bytes() for path in written} == before
    with pytest.raises(
        UserError, match=r"results of this study are not in .*give their location with `store=`"
    ):
        report_again(tmp_path / "a", store=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    # Another version makes the audits anew, from the predictions.
    with monkeypatch.context() as another:
        another.setattr(
            "fairpress.studies.planning.report_plan.code_digest", lambda package: f"another {package}"
        )
        assert report_again(tmp_path / "a").sections == done.sections
        # Nothing is run for that: damaged predictions are refused, and stay for `study run` to make anew.
        another.setattr(
            "fairpress.studies.planning.report_plan.code_digest", lambda package: f"a third {package}"
        )
        entries = (tmp_path / ".store" / "entries").glob("*/*/predictions.parquet")
        retained = {path: path.read_bytes() for path in entries}
        for path, whole in retained.items():
            path.write_bytes(whole[:-1])
        with pytest.raises(UserError, match=r"results of this study are not in"):
            report_again(tmp_path / "a")
        for path, whole in retained.items():
            assert path.read_bytes() == whole[:-1]
            path.write_bytes(whole)

    _export_writes_what_was_made(done, tmp_path)

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


def _export_writes_what_was_made(done, tmp_path):
    """Model folders predict what stands in the study's table, under names that tell them apart; or nothing is written."""
    study, out = tmp_path / "a", tmp_path / "models"
    with pytest.raises(UserError, match="the study has no recipe 'int4'"):
        export(study, out, only=["recipe=int4"])
    with pytest.raises(UserError, match="results of this study are not in"):
        export(study, out, store=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"it contains no study\.json"):
        export(tmp_path, out)
    (out / "int8-seed-1").mkdir(parents=True)
    (out / "int8-seed-1" / "mine.txt").touch()
    only = ["recipe=int8,seed=0..1,fold=1"]
    with pytest.raises(UserError, match=r"int8-seed-1 contains files.*mine"):
        export(study, out, only=only)
    assert {p.name for p in out.iterdir()} == {"int8-seed-1"}
    (out / "int8-seed-1" / "mine.txt").unlink()
    assert export(study, out, only=only).folders == (out / "int8-seed-0", out / "int8-seed-1")
    assert len(export(study, tmp_path / "all").folders) == 4 * 2 * 2
    table = pq.read_table(study / "predictions.parquet")
    table = table.filter(pc.and_(pc.equal(table["seed"], 1), pc.equal(table["fold"], 1)))
    again = predictions({"int8": Artifact.load(out / "int8-seed-1")}, load("compas", folds=2, fold=1))
    reported, predicted = (
        dict(zip(*t.select(["row_id", "int8.score"]), strict=True)) for t in (table, again)
    )
    assert predicted == reported


@pytest.mark.slow
def test_a_failing_trial_is_named_its_seeds_are_left_out_and_the_command_exits_with_3(
    data_folder, tmp_path, monkeypatch, capsys
):
    import json

    from failing import perform
    from fairpress import cli
    from fairpress.studies.execution import executor

    monkeypatch.chdir(tmp_path)
    overrides = ["model.widths=[8]", "training.max_epochs=1", "folds=1", "seeds=2", "networks_per_task=1"]
    command = [
        "study",
        "run",
        "compas",
        *overrides,
        "recipes=[int8,prune-50(epochs=1)]",
        "audit.by=[sex]",
        "size_accuracy_bias=null",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(executor, "perform", perform)
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
    output = capsys.readouterr().err
    assert stop.value.code == 3
    assert "failed: compress int8 (seeds 1, folds 0): RuntimeError: broken on purpose" in output
    assert "skipped: predict int8 (seeds 1, folds 0): an input failed" in output
    audits = json.loads((tmp_path / "runs/compas/audit.json").read_text())
    assert {title: (a["seeds"], list(a["comparisons"])) for title, a in audits.items()} == {
        "Compressed against the baseline (seeds 0 only)": (None, ["int8"]),
        "Compressed against the baseline": (2, ["prune-50(epochs=1)"]),
        "prune-50(epochs=1) against its placebo": (2, ["prune-50(epochs=1)"]),
    }
    # What there is of its networks can be exported, and what is missing is named.
    with pytest.raises(SystemExit) as stop:
        cli.main(["study", "export", "runs/compas", "--only", "recipe=int8", "--out", "models"])
    assert stop.value.code == 3
    reported = capsys.readouterr()
    assert reported.out.split() == ["Written:", "models/int8-seed-0"]
    assert reported.err == "without: int8-seed-1, which has no result\n"
    # Its report can be written again, and still tells what is missing.
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", "runs/compas", "--latex", "tables.tex"])
    assert stop.value.code == 3
    assert "compress int8 (seeds 1, folds 0)" in capsys.readouterr().err
    assert json.loads((tmp_path / "runs/compas/audit.json").read_text()) == audits
    assert (tmp_path / "tables.tex").read_text().count(r"\begin{table}") >= 3
    # Mended, it does what is missing.
    with pytest.raises(SystemExit) as stop:
        cli.main(command)
    assert stop.value.code == 0
    assert "finished train" not in capsys.readouterr().err
    audits = json.loads((tmp_path / "runs/compas/audit.json").read_text())
    assert list(audits["Compressed against the baseline"]["comparisons"]) == ["int8", "prune-50(epochs=1)"]
