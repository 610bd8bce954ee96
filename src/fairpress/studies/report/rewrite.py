"""Write the report of a study again from the results that are kept; nothing is trained, compressed or run."""

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
    """Write a study's folder again, as this version of fairpress counts, words and draws it.

    Audits are made anew where another version made those that are kept, since they take seconds; predictions never are.

    Parameters
    ----------
    folder
        What `run_study` wrote; its study.json says which study it is of.
    store
        Where the results are; ``.store`` beside the folder by default.

    Raises
    ------
    UserError
        No such study, or its results are not in the store (other data, another version of a library, another place).
    FairpressError
        An audit that was to be made anew failed.
    """
    manifest = read_study(folder)
    check_out(folder)
    results = study_store(folder, store)
    study = prepare(manifest.config, results, manifest.only, remember=False)
    report, undone = study.report, []
    if any(not results.has(key) for key in report.needed):
        # Of a study of which some trials failed, what there is is reported.
        undone = [task for task in study.plan.tasks if not results.has(task.key)]
        absent = frozenset(task.key for task in undone)
        report = plan_report(manifest.config, study.plan, study.data, study.selection, absent)
    tasks = {task.key: task for task in (*study.plan.tasks, *report.tasks)}
    missing = unfinished(tasks, report.needed, results.has)
    if missing:  # what execute would find damaged is lost too, or it would make it anew
        missing = unfinished(tasks, report.needed, lambda key: results.state(key) == "complete")
    if not report.sections or (missing and (undone or missing & {task.key for task in study.plan.tasks})):
        raise missing_study_error(folder, manifest, results)
    if missing:
        with Interruptible():
            audited = execute(tuple(tasks.values()), results, needed=report.needed)
        if not audited.complete:
            raise FairpressError(f"an audit could not be made anew: {next(iter(audited.failed.values()))}")
    outcome = Outcome(skipped=undone)
    return write_report(manifest.name, study, report, outcome, tasks, results, folder, manifest.command)
