"""Rewrite the report of a study from stored results, without training, compressing or predicting."""

from __future__ import annotations

from pathlib import Path

from fairpress.core.errors import FairpressError
from fairpress.studies.execution.executor import Outcome, execute, unfinished
from fairpress.studies.execution.local_engine import Interruptible
from fairpress.studies.planning.prepare import prepare
from fairpress.studies.planning.report_plan import plan_report
from fairpress.studies.report.build import write_report
from fairpress.studies.report.manifest import missing_study_error, read_study, study_store
from fairpress.studies.report.result import StudyResult
from fairpress.studies.report.write_folder import check_out


def report_again(folder: Path, *, store: str | Path | None = None) -> StudyResult:
    """Rewrite a study's folder with the report of this version of fairpress.

    Audits computed by another version are recomputed, which takes seconds; predictions never are.

    Parameters
    ----------
    folder
        The folder written by `run_study`; its study.json identifies the study.
    store
        The store with the results; by default ``.store`` next to the folder.

    Raises
    ------
    UserError
        The folder is not a study's, or its results are not in the store (other data, library versions or location).
    FairpressError
        An audit could not be recomputed.
    """
    manifest = read_study(folder)
    check_out(folder)
    results = study_store(folder, store)
    study = prepare(manifest.config, results, manifest.only, remember=False)
    report, undone = study.report, []
    if any(not results.has(key) for key in report.needed):
        # If some trials of the study failed, report the others.
        undone = [task for task in study.plan.tasks if not results.has(task.key)]
        absent = frozenset(task.key for task in undone)
        report = plan_report(manifest.config, study.plan, study.data, study.selection, absent)
    tasks = {task.key: task for task in (*study.plan.tasks, *report.tasks)}
    missing = unfinished(tasks, report.needed, results.has)
    if missing:  # damaged results count as missing: `execute` would recompute them
        missing = unfinished(tasks, report.needed, lambda key: results.state(key) == "complete")
    if not report.sections or (missing and (undone or missing & {task.key for task in study.plan.tasks})):
        raise missing_study_error(folder, manifest, results)
    if missing:
        with Interruptible():
            audited = execute(tuple(tasks.values()), results, needed=report.needed)
        if not audited.complete:
            raise FairpressError(f"an audit could not be recomputed: {next(iter(audited.failed.values()))}")
    outcome = Outcome(skipped=undone)
    return write_report(manifest.name, study, report, outcome, tasks, results, folder, manifest.command)
