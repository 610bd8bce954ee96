"""Run a study from its config to its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fairpress.reporting.vega_svg import start_drawing
from fairpress.store.local import Store
from fairpress.store.remote import open_store
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.execution.engine import Engine
from fairpress.studies.execution.executor import Event, Outcome, execute
from fairpress.studies.execution.local_engine import Interruptible, LocalEngine
from fairpress.studies.planning.plan import StudyTask
from fairpress.studies.planning.prepare import PreparedStudy, prepare
from fairpress.studies.planning.report_plan import plan_report
from fairpress.studies.report.build import write_report
from fairpress.studies.report.result import StudyResult
from fairpress.studies.report.write_folder import check_out

__all__ = ["StudyResult", "run_study"]


def run_study(
    name: str,
    config: StudyConfig,
    *,
    out: Path,
    store: str | Path | None = None,
    only: Sequence[str] = (),
    workers: int | None = None,
    engine: Engine | None = None,
    command: str = "",
    on_plan: Callable[[Sequence[StudyTask]], None] = lambda tasks: None,
    on_event: Event = lambda event, task: None,
) -> StudyResult:
    """Run the tasks without a stored result, audit all predictions, and write the report to `out`.

    The folder receives report.html, audit.json (one audit per section), bias.json, predictions.parquet (with several parts:
    a folder of such files), models.json, study.json and figures/*.svg. Nothing is written before all of it is complete.

    Parameters
    ----------
    only
        Filters, such as ``recipe=int8,seed=0..3``; see `parse_filter`.
    workers
        Number of local processes; by default one per core.
    engine
        Runs the tasks in place of local processes, such as `RayEngine`; results are the same.

    Raises
    ------
    UserError
        The config, a filter or the data is wrong, or the folder cannot be written.
    FairpressError
        No baseline could be trained, so there is nothing to report.
    """
    address = store if store is not None else out.parent / ".store"
    check_out(out, address)
    results = open_store(address)
    with Interruptible():
        engine = engine or LocalEngine(workers)
        study = _planned(config, results, only, engine)
        on_plan(study.tasks)
        outcome = execute(
            study.tasks,
            results,
            needed=study.report.needed,
            workers=workers,
            engine=engine,
            on_event=on_event,
        )
        report, tasks = study.report, {task.key: task for task in study.tasks}
        if not outcome.complete:
            # Failed tasks remove sections or some of their seeds: plan the report again without them.
            report = plan_report(config, study.plan, study.data, study.selection, outcome.undone)
            new_tasks = [task for task in report.tasks if task.key not in tasks]
            on_plan(new_tasks)
            new_keys = {task.key for task in new_tasks}
            second = execute(
                [*study.plan.tasks, *report.tasks],
                results,
                needed=[k for k in report.needed if k not in outcome.undone],
                workers=workers,
                engine=engine,
                on_event=lambda event, task: on_event(event, task) if task.key in new_keys else None,
            )
            _merge(outcome, second)
            tasks |= {task.key: task for task in report.tasks}
        return write_report(name, study, report, outcome, tasks, results, out, command)


def _planned(config: StudyConfig, store: Store, only: Sequence[str], engine: Engine) -> PreparedStudy:
    """Return the prepared study; what a first study in a store surely needs is loaded meanwhile, on both sides."""
    if not isinstance(engine, LocalEngine) or store.read_only or store.all_keys():
        return prepare(config, store, only)
    with engine.started_early():
        study = prepare(config, store, only)
        start_drawing()
    return study


def _merge(outcome: Outcome, second: Outcome) -> None:
    outcome.ran |= second.ran
    outcome.failed |= second.failed
    skipped = {task.key for task in outcome.skipped}
    outcome.skipped += [task for task in second.skipped if task.key not in skipped]
