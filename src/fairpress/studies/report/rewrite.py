"""Write the report of a study again from the results that are kept; nothing is trained, compressed or run."""

from __future__ import annotations

from pathlib import Path

from fairpress.core.errors import FairpressError
from fairpress.studies.execution.executor import Outcome, execute, unfinished
from fairpress.studies.execution.local_engine import Interruptible
from fairpress.studies.planning.prepare import prepare
from fairpress.studies.planning.report_plan import report_plan
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
    told = read_study(folder)
    check_out(folder)
    place = study_store(folder, store)
    ready = prepare(told.config, place, told.only, remember=False)
    report, undone = ready.report, []
    if any(not place.has(key) for key in report.needed):
        # Of a study of which some trials failed, what there is is reported.
        undone = [task for task in ready.layout.tasks if not place.has(task.key)]
        absent = frozenset(task.key for task in undone)
        report = report_plan(told.config, ready.layout, ready.data, ready.only, absent)
    tasks = {task.key: task for task in (*ready.layout.tasks, *report.tasks)}
    lost = unfinished(tasks, report.needed, place.has)
    if lost:  # what execute would find damaged is lost too, or it would make it anew
        lost = unfinished(tasks, report.needed, lambda key: place.state(key) == "complete")
    if not report.sections or (lost and (undone or lost & {task.key for task in ready.layout.tasks})):
        raise missing_study_error(folder, told, place)
    if lost:
        with Interruptible():
            made = execute(tuple(tasks.values()), place, needed=report.needed)
        if not made.complete:
            raise FairpressError(f"an audit could not be made anew: {next(iter(made.failed.values()))}")
    outcome = Outcome(skipped=undone)
    return write_report(told.name, ready, report, outcome, tasks, place, folder, told.command)
