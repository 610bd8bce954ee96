"""`fairpress study …`: a whole matrix of models."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

from fairpress.cli.program import FAILED_TRIALS, app, say, show_audit

study = App(name="study", help="Run a whole study: dataset × model × recipes × seeds.")
app.command(study)


@study.command(name="run")
def study_run(
    name: str,
    /,
    *overrides: str,
    out: Path | None = None,
    store: Path | None = None,
    workers: int | None = None,
) -> int:
    """Run a study and write its report; what was done before is not done again.

    Example: fairpress study run compas

    Parameters
    ----------
    name
        A bundled study (compas) or a YAML file.
    overrides
        key=value, such as seeds=5 or audit.margin=0.01.
    out
        The study's folder; runs/NAME by default.
    store
        Where results are kept; .store beside the study's folder by default.
    workers
        Processes; by default one a core.
    """
    import time

    from fairpress.studies.config import load
    from fairpress.studies.progress import Progress
    from fairpress.studies.run import run_study
    from fairpress.training.fit import require_torch

    started = time.monotonic()
    title, config = load(name, overrides)
    require_torch("Running a study")
    target = out or Path("runs") / title
    command = " ".join(["fairpress", "study", "run", name, *overrides])
    with Progress() as progress:
        done = run_study(
            title,
            config,
            out=target,
            store=store,
            workers=workers,
            command=command,
            on_plan=progress.plan,
            on_event=progress.event,
        )
    for section in done.sections:
        say(f"\n[bold underline]{section.title}[/]")
        show_audit(section.audit)
    say("")
    for m in done.models:
        ratio = done.models[0].bytes / m.bytes
        say(
            f"{m.name:>20}  {m.bytes / 1e3:7.1f} KB  {ratio:5.2f}× smaller  {m.gzip_bytes / 1e3:7.1f} KB gzipped"
        )
    say(f"\nReport: {done.folder / 'report.html'}  ({time.monotonic() - started:.0f} s)", markup=False)
    titles = {}
    for key, reason in done.outcome.failed.items():
        titles[key] = reason
        sys.stderr.write(f"failed: {key[:12]}: {reason}\n")
    return 0 if done.outcome.complete else FAILED_TRIALS


@study.command(name="list")
def study_list() -> int:
    """List the studies that ship with fairpress."""
    from fairpress.studies.config import bundled

    for name in bundled():
        say(name, markup=False)
    return 0


@study.command(name="check")
def study_check(name: str, /, *overrides: str) -> int:
    """Check a study's YAML without running it; every error at once.

    Example: fairpress study check my.yaml

    Parameters
    ----------
    name
        A bundled study or a YAML file.
    overrides
        key=value.
    """
    from fairpress.studies.config import load
    from fairpress.studies.plan import plan

    _, config = load(name, overrides)
    layout = plan(config, dict.fromkeys(range(config.folds), ""))
    say(f"{name}: {len(config.seeds)} seeds × {config.folds} folds, {len(layout.tasks)} tasks", markup=False)
    return 0
