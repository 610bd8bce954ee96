"""`fairpress study …`: a whole matrix of models."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from fairpress.cli.app import CommandGroup, app, print_line, print_sentence, write_output
from fairpress.cli.exit_codes import TRIALS_FAILED
from fairpress.cli.report import Verbose, show_study

if TYPE_CHECKING:
    from fairpress.studies.config.study import StudyConfig

study = CommandGroup(name="study", help="Run a study: datasets × models × recipes × seeds × folds.")
app.command(study)

Workers = Annotated[int | None, Parameter(validator=validators.Number(gte=1, lte=4096))]
Only = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


@study.command(name="run")
def study_run(
    name: str,
    /,
    *overrides: str,
    only: Only = None,
    phase: str | None = None,
    data: str | None = None,
    out: Path | None = None,
    store: str | None = None,
    workers: Workers = None,
    engine: Literal["local", "ray"] = "local",
    address: str = "auto",
    verbose: Verbose = False,
) -> int:
    """Run a study and write its report; finished tasks are reused.

    Example: fairpress study run compas --only recipe=int8,seed=0..3

    Parameters
    ----------
    name
        A bundled study (compas) or a YAML file.
    overrides
        key=value, such as seeds=5 or audit.margin=0.01, which define another study with separate results.
    only
        Run and report only a part: dataset, model, recipe, seed or fold = values, such as
        recipe=int8,prune-*,seed=0..3.
    phase
        Run and report only a named phase of the study, such as baseline; all for the whole study.
    data
        Another dataset for the study: one of its alternatives, or any by name.
    out
        The study's folder; runs/NAME by default.
    store
        Where results are kept: a folder, or an address such as s3://bucket/runs;
        by default .store next to the study's folder.
    workers
        Number of processes; by default one per core.
    engine
        ray: run the tasks on a Ray cluster whose nodes can all reach the store. Needs fairpress[ray].
    address
        Address of the Ray cluster: auto, host:port, or local for a new one on this machine.
    verbose
        Print all tables at the end instead of one row per recipe.
    """
    import contextlib
    import time

    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        if engine == "local" and _is_first(out, store):  # what follows takes half a second
            from fairpress.studies.execution.local_engine import LocalEngine

            stack.enter_context(LocalEngine(workers).started_early())
        from fairpress.studies.execution.progress import StudyProgress
        from fairpress.studies.execution.progress_file import ProgressFile
        from fairpress.studies.execution.ray_engine import RayEngine
        from fairpress.studies.execution.time_left import TimeLeft
        from fairpress.studies.planning.durations import TaskDurations
        from fairpress.studies.report.manifest import study_store
        from fairpress.studies.report.write_folder import check_out
        from fairpress.studies.run import run_study
        from fairpress.training.device import require_torch

        title, config, filters = _selected(name, overrides, data, only, phase)
        require_torch("Running a study")
        options = [
            *(["--data", data] if data else []),
            *(part for text in filters for part in ("--only", text)),
        ]
        command = shlex.join(["fairpress", "study", "run", name, *overrides, *options])
        folder = out or Path("runs") / title
        check_out(folder, store or folder.parent / ".store")
        ray_engine: RayEngine | None = None
        if engine == "ray":
            ray_engine = stack.enter_context(RayEngine(address, study_store(folder, store), workers=workers))
        time_left = TimeLeft(TaskDurations(study_store(folder, store)).expected)
        progress = stack.enter_context(StudyProgress(ProgressFile(folder, title, command), time_left))
        done = run_study(
            title,
            config,
            out=folder,
            store=store,
            only=filters,
            workers=workers,
            engine=ray_engine,
            command=command,
            on_plan=progress.plan,
            on_event=progress.event,
        )
    show_study(done, verbose=verbose, seconds=time.monotonic() - started)
    for key, reason in done.outcome.failed.items():
        sys.stderr.write(f"failed: {done.tasks[key].title}: {reason}\n")
    for task in done.outcome.skipped:
        sys.stderr.write(f"skipped: {task.title}: an input failed\n")
    return 0 if done.outcome.complete else TRIALS_FAILED


def _is_first(out: Path | None, store: str | None) -> bool:
    """Return whether a study has no folder of results yet, so that its networks have to be trained."""
    if store is not None:
        return "://" not in store and not Path(store).exists()
    return not ((out or Path("runs/study")).parent / ".store").exists()


def _selected(
    name: str, overrides: Sequence[str], data: str | None, only: Sequence[str] | None, phase: str | None
) -> tuple[str, StudyConfig, list[str]]:
    """Return the study's title, its config, and the filters of `only` and of the phase."""
    from fairpress.studies.load import load
    from fairpress.studies.planning.claim_tasks import phase as filters_of

    title, config = load(name, overrides, data)
    return title, config, [*(only or ()), *filters_of(config, phase)]


@study.command(name="export")
def study_export(
    folder: Path,
    /,
    *,
    out: Path,
    only: Only = None,
    store: str | None = None,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Write networks of a finished study as model folders, to ship, bench, mitigate or compress further.

    Example: fairpress study export runs/compas --only recipe=fp32,int8,seed=0,fold=0 --out models/

    Parameters
    ----------
    folder
        The folder written by fairpress study run.
    out
        Folder for one model folder per network, named by recipe, and by seed and fold if there are several.
    only
        A part of the networks: dataset, model, recipe, seed or fold = values, as for study run.
    store
        Where its results are kept; by default .store next to the folder.
    force
        Replace existing model folders.
    """
    from fairpress.studies.report.export_models import export

    done = export(folder, out, only=only or (), store=store, force=force)
    for path in done.folders:
        print_line(f"Written: {path}", markup=False, soft_wrap=True)
    for name in done.absent:
        sys.stderr.write(f"without: {name}, which has no result\n")
    return 0 if not done.absent else TRIALS_FAILED


@study.command(name="mlflow")
def study_mlflow(
    folder: Path, /, *, uri: str | None = None, experiment: str | None = None, only: Only = None
) -> int:
    """Export a finished study to MLflow: one run per network, with its rates, losses, audit and model card.

    Networks that were exported before are skipped. Needs fairpress[mlflow].

    Example: fairpress study mlflow runs/compas --uri http://localhost:5000

    Parameters
    ----------
    folder
        The folder written by fairpress study run.
    uri
        The server's address, or a database; MLFLOW_TRACKING_URI by default.
    experiment
        Name of the MLflow experiment; by default that of the study.
    only
        A part of the networks: dataset, model, recipe, seed or fold = values, as for study run.
    """
    from fairpress.cli.progress import ProgressBar
    from fairpress.studies.tracking.mlflow import export_mlflow

    with ProgressBar("networks") as progress:
        done = export_mlflow(
            folder,
            uri,
            experiment=experiment,
            only=only or (),
            progress=progress,
        )
    print_sentence(
        f"experiment {done.experiment} at {done.server}: {done.new} networks exported, {done.existing} exported before",
    )
    return 0


@study.command(name="plan")
def study_plan(
    name: str,
    /,
    *overrides: str,
    only: Only = None,
    phase: str | None = None,
    data: str | None = None,
    out: Path | None = None,
    store: str | None = None,
    workers: Workers = None,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Show the tasks of a study: which are finished, which will run, and how long each takes.

    Example: fairpress study plan compas seeds=5

    Parameters
    ----------
    name
        A bundled study or a YAML file.
    overrides
        key=value, such as seeds=5, as for study run.
    only
        A part of the study, as for study run.
    phase
        A named phase of the study, as for study run.
    data
        Another dataset, as for study run.
    out
        The study's folder; runs/NAME by default.
    store
        Where results are kept, as for study run.
    workers
        Number of processes for the estimate of the time; by default one per core.
    json_
        Print JSON.
    """
    from fairpress.studies.overview import overview
    from fairpress.studies.planning.prepare import prepare
    from fairpress.studies.report.manifest import study_store

    title, config, filters = _selected(name, overrides, data, only, phase)
    results = study_store(out or Path("runs") / title, store)
    planned = overview(prepare(config, results, filters, remember=False), results, workers)
    if json_:
        write_output(json.dumps(planned.to_dict(), indent=1))
        return 0
    for line in planned.lines:
        took = f"{line.seconds:7.1f} s" if line.seconds is not None else ""
        took = f"~{line.about:6.1f} s" if line.about is not None else took
        print_line(
            f"{line.state:>10} {took:>9}  {'  ' * line.depth}{line.title}", markup=False, soft_wrap=True
        )
    total = (
        "" if planned.expected is None else f", about {planned.expected:.0f} s on {planned.workers} workers"
    )
    to_run = planned.count("to run") + planned.count("damaged")
    print_line(
        f"{name}: {len(planned.lines)} tasks, {planned.count('done')} done, {to_run} to run{total}",
        markup=False,
    )
    return 0


@study.command(name="list")
def study_list(
    *, json_: Annotated[bool, Parameter("--json", negative="", show_default=False)] = False
) -> int:
    """List the studies that ship with fairpress: data, number of networks, recipes, and what each asks.

    Example: fairpress study list

    Parameters
    ----------
    json_
        Print JSON: a list of {"name": …, "title": …, "datasets": …, "models": …, "seeds": …, "folds": …, "networks": …,
        "recipes": …}; networks are the baselines that are trained, each compressed by every recipe.
    """
    from rich.table import Table

    from fairpress.studies.catalogue import catalogue

    entries = catalogue()
    if json_:
        write_output(json.dumps([e.to_dict() for e in entries], indent=1))
        return 0
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("data")
    for column in ("networks", "recipes"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("question")
    for e in entries:
        table.add_row(e.name, ", ".join(e.datasets), f"{e.networks:,}", str(len(e.recipes)), e.title)
    print_line(table)
    print_line(
        "\nNetworks: baselines to train, each then compressed by every recipe. Next: fairpress study plan NAME shows the "
        "tasks; fairpress study run NAME runs them.",
        markup=False,
    )
    return 0


@study.command(name="check")
def study_check(name: str, /, *overrides: str, data: str | None = None) -> int:
    """Check a study's YAML without loading data or running it, and report every error at once.

    Example: fairpress study check my.yaml

    Parameters
    ----------
    name
        A bundled study or a YAML file.
    overrides
        key=value, such as seeds=5, as for study run.
    data
        Another dataset, as for study run.
    """
    from fairpress.studies.load import load
    from fairpress.studies.planning.plan import plan_study

    _, config = load(name, overrides, data)
    layout = plan_study(config, lambda dataset, fold: "")
    counts = [
        *([f"{len(config.all_datasets)} datasets"] if len(config.all_datasets) > 1 else []),
        *([f"{len(config.all_models)} models"] if len(config.all_models) > 1 else []),
        f"{len(config.seeds)} seed{'s' if len(config.seeds) > 1 else ''}",
        f"{config.folds} fold{'s' if config.folds > 1 else ''}",
    ]
    tasks = (
        "networks per group, which depends on the data" if config.per_group else f"{len(layout.tasks)} tasks"
    )
    print_line(f"{name}: {' × '.join(counts)}, {tasks}", markup=False)
    return 0


@study.command(name="schema")
def study_schema() -> int:
    """Print the JSON Schema of a study's YAML, for completion and checks in editors.

    Example: fairpress study schema > study.schema.json
    """
    from fairpress.studies.config.json_schema import schema

    write_output(json.dumps(schema(), indent=1))
    return 0
