"""What a user types: parse, call, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError

from fairpress import __version__
from fairpress.core.errors import FairpressError, UserError

if TYPE_CHECKING:
    from fairpress.auditing.result import Audit

FAILED_GATE, WRONG_INPUT, FAILED_TRIALS = 1, 2, 3

app = App(
    name="fairpress",
    version=__version__,
    help_format="plaintext",
    help="Which people pay for the compression of a neural network, is that real or noise, "
    "and how to compress so that nobody does.\n\nFirst steps: `fairpress demo`, `fairpress study run compas`.",
)
study = App(name="study", help="Run a whole study: dataset × model × recipes × seeds.")
data = App(name="data", help="Look at the datasets that ship with fairpress.")
app.command(study)
app.command(data)


@app.command
def demo(*, out: Path = Path("fairpress-demo")) -> int:
    """Audit a synthetic table in which one group pays; no network, no torch, no real person.

    Example: fairpress demo

    Parameters
    ----------
    out
        Folder for the table and its report.
    """
    from fairpress import api, demonstration

    table = demonstration.table()
    report = api.audit(table, baseline="fp32", compressed=list(demonstration.COMPRESSED), by=demonstration.BY)
    csv = out / "predictions.csv"
    api.write_text(csv, _csv(table))
    report.to_html(out / "report.html", title="Demonstration: one group pays", banner=demonstration.BANNER)
    _print(f"[bold yellow]{demonstration.BANNER}[/]")
    _show(report)
    by = ",".join(demonstration.BY)
    _print(f"\nReport: {out / 'report.html'}\nThe same by hand:", markup=False)
    _print(f"  fairpress audit {csv} --baseline fp32 --compressed int8,int4 --by '{by}'", markup=False)
    return 0


@app.command
def doctor(*, json_: Annotated[bool, Parameter("--json")] = False) -> int:
    """Show what is installed, which runtimes and extras work, and what this machine can do.

    Example: fairpress doctor

    Parameters
    ----------
    json_
        Print JSON.
    """
    from dataclasses import asdict

    from fairpress.diagnosis import diagnose, healthy

    findings = diagnose()
    if json_:
        print(json.dumps([asdict(f) for f in findings], indent=1))  # noqa: T201
    else:
        for f in findings:
            sign = {True: "ok     ", None: "absent ", False: "BROKEN "}[f.ok]
            _print(f"{sign} {f.what}: {f.detail}", markup=False)
    return 0 if healthy(findings) else FAILED_GATE


@app.command
def audit(
    table: str,
    /,
    *,
    by: str,
    label: str = "label",
    baseline: str | None = None,
    compressed: str = "",
    decide: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    positive: str | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    metrics: str = "accuracy,tpr,fpr",
    seed_column: str | None = None,
    row_id: str = "row_id",
    html: Path | None = None,
    fail_on: str = "",
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Audit a table of predictions (Parquet or CSV) from any framework.

    Example: fairpress audit preds.parquet --label y --baseline fp32 --compressed int8 --by 'sex,race,sex*race'

    Parameters
    ----------
    table
        One row per example: label, sensitive attributes, and a column of classes per model.
    by
        Sensitive attributes, comma-separated; sex*race is the intersection.
    label
        Column of true classes.
    baseline
        Column of the model before compression.
    compressed
        Columns of compressed models, comma-separated; without it, rates and gaps of the baseline only.
    decide
        Make a model from a numeric score: 'base=decile_score>=5'. May be repeated.
    positive
        The class that rates speak of; by default 1, yes or true.
    margin
        A loss above this is harm; 0.02 is two points.
    confidence
        Of all intervals.
    metrics
        The losses that are judged: accuracy, tpr, fpr.
    seed_column
        Column of training seeds, where runs are stacked.
    row_id
        Column of row ids, needed with --seed-column.
    html
        Write the one-file report here.
    fail_on
        Exit with 1 on these verdicts: harm (which includes a shown loss), inconclusive; comma-separated.
    json_
        Print audit.json instead of tables.
    """
    from fairpress import api

    decisions = {}
    for text in decide:
        model, equals, rule = text.partition("=")
        if not equals:
            raise UserError(f"--decide {text!r}: write model=column>=number, such as base=decile_score>=5.")
        decisions[model] = rule
    gates = set(filter(None, fail_on.split(",")))
    if gates - {"harm", "inconclusive"}:
        raise UserError(
            f"--fail-on takes harm and inconclusive, not {sorted(gates - {'harm', 'inconclusive'})[0]!r}."
        )
    if baseline is None and len(decisions) == 1:
        baseline = next(iter(decisions))
    if baseline is None:
        raise UserError("name the baseline's column with --baseline.")
    report = api.audit(
        table,
        label=label,
        baseline=baseline,
        compressed=_list(compressed),
        by=_list(by),
        positive=positive,
        decide=decisions,
        margin=margin,
        confidence=confidence,
        metrics=_list(metrics),
        seed_column=seed_column,
        row_id=row_id,
    )
    if html is not None:
        report.to_html(html, title=f"Audit of {Path(table).name}")
    if json_:
        print(json.dumps(report.to_dict(), indent=1, allow_nan=False))  # noqa: T201
    else:
        _show(report)
    failing = {"harm", "loss"} if "harm" in gates else set()
    failing |= gates & {"inconclusive"}
    return FAILED_GATE if any(c.verdict in failing for c in report.comparisons) else 0


@app.command
def train(model: str, /, *, data: str, out: Path, seed: int = 0, device: str = "cpu") -> int:
    """Train a network and write its model folder.

    Example: fairpress train mlp --data compas --out base/

    Parameters
    ----------
    model
        An architecture: mlp.
    data
        A dataset's name.
    out
        The model folder.
    seed
        Training seed.
    device
        cpu, cuda, or auto.
    """
    from fairpress import api

    artifact = api.train(model, data, seed=seed, device=device)
    folder = artifact.save(out)
    made = artifact.card.provenance
    _print(f"{folder}: {artifact.size:,} bytes, {made['epochs']} epochs, ", end="", markup=False)
    _print(f"accuracy on validation rows {made['validation_accuracy']:.3f}", markup=False)
    return 0


@app.command
def compress(base: Path, /, *, recipe: str, out: Path) -> int:
    """Compress a model by a recipe.

    Example: fairpress compress base/ --recipe int8 --out int8/

    Parameters
    ----------
    base
        The model folder of the baseline.
    recipe
        int8, int4, prune-80, or steps joined by +: prune-80+int8. placebo(prune-80) is its control.
    out
        The new model folder.
    """
    from fairpress import api

    original = api.open_model(base)
    artifact = api.compress(original, recipe)
    folder = artifact.save(out)
    ratio = original.size / artifact.size
    _print(f"{folder}: {artifact.size:,} bytes, {ratio:.2f} times smaller than {base}", markup=False)
    return 0


@app.command
def predict(*models: str, out: Path, data: str | None = None) -> int:
    """Run models on a dataset's test rows and write the predictions table.

    Example: fairpress predict fp32=base/ int8=int8/ --out preds.parquet

    Parameters
    ----------
    models
        name=folder, the baseline first.
    out
        A .parquet or .csv file.
    data
        A dataset's name; by default the one the first model was trained on.
    """
    import pyarrow.parquet as pq

    from fairpress import api

    named = {}
    for text in models:
        name, equals, folder = text.partition("=")
        if not equals:
            raise UserError(f"{text!r}: write name=folder, such as fp32=base/.")
        named[name] = folder
    if out.suffix not in (".parquet", ".csv"):
        raise UserError(f"{out}: the table is written as .parquet or .csv.")
    table = api.predict(named, data)
    if out.suffix == ".csv":
        api.write_text(out, _csv(table))
    else:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, out)
        except OSError as error:
            raise UserError(f"cannot write {out} ({error.strerror or error}).") from None
    attributes = [c for c in table.column_names if c not in ("row_id", "subject", "label")]
    attributes = [c for c in attributes if c.removesuffix(".score") not in named]
    first, *rest = named
    _print(f"{out}: {table.num_rows:,} rows. Next:", markup=False)
    compared = f" --compressed {','.join(rest)}" if rest else ""
    _print(f"  fairpress audit {out} --baseline {first}{compared} --by {','.join(attributes)}", markup=False)
    return 0


@app.command
def show(model: Path, /) -> int:
    """Show the card of a model folder.

    Example: fairpress show int8/

    Parameters
    ----------
    model
        A model folder.
    """
    from fairpress.runtime.artifact import Artifact

    print(Artifact.load(model).card.to_json())  # noqa: T201
    return 0


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
        _print(f"\n[bold underline]{section.title}[/]")
        _show(section.audit)
    _print("")
    for m in done.models:
        ratio = done.models[0].bytes / m.bytes
        _print(
            f"{m.name:>20}  {m.bytes / 1e3:7.1f} KB  {ratio:5.2f}× smaller  {m.gzip_bytes / 1e3:7.1f} KB gzipped"
        )
    _print(f"\nReport: {done.folder / 'report.html'}  ({time.monotonic() - started:.0f} s)", markup=False)
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
        _print(name, markup=False)
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
    _print(
        f"{name}: {len(config.seeds)} seeds × {config.folds} folds, {len(layout.tasks)} tasks", markup=False
    )
    return 0


@data.command(name="list")
def data_list() -> int:
    """List the datasets that ship with fairpress."""
    from fairpress import datasets

    for name in datasets.names():
        _print(name, markup=False)
    return 0


@data.command(name="fetch")
def data_fetch(name: str, /) -> int:
    """Bring a dataset's files onto this machine, checked by sha256.

    Example: fairpress data fetch compas

    Parameters
    ----------
    name
        A dataset's name.
    """
    from fairpress import datasets

    for path in datasets.fetch(name):
        _print(str(path), markup=False)
    return 0


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _csv(table: Any) -> str:
    import io

    from pyarrow import csv

    sink = io.BytesIO()
    csv.write_csv(table, sink)
    return sink.getvalue().decode()


def _show(report: Audit) -> None:
    from fairpress.reporting import terminal

    for part in terminal.render(report):
        _print(part)


def _print(what: Any, **options: Any) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False, soft_wrap=False)
    console.print(what, **options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a gate failed, 2 wrong input, 3 some trials failed."""
    try:
        code = app(
            sys.argv[1:] if arguments is None else list(arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except (UserError, CycloptsError) as error:
        sys.stderr.write(f"fairpress: {error}\n")
        code = WRONG_INPUT
    except FairpressError as error:
        sys.stderr.write(f"fairpress: {error}\n")
        code = FAILED_TRIALS
    except KeyboardInterrupt:
        sys.stderr.write(
            "fairpress: interrupted; finished work is kept, the same command goes on from there.\n"
        )
        code = 130
    sys.exit(code if isinstance(code, int) else 0)
