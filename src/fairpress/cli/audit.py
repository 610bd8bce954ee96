"""`fairpress audit`: from a table of predictions to a verdict and an exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, show_audit, split_list, write_output
from fairpress.cli.exit_codes import GATE_FAILED
from fairpress.cli.written import print_written, written_files
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.output import check_apart, check_files
from fairpress.core.places import require_file

SMALL_CELL = 5
MAX_COLUMNS = 20

_PLAIN = {"negative": "", "show_default": False}
Repeated = Annotated[tuple[str, ...], Parameter(consume_multiple=False, **_PLAIN)]
Flag = Annotated[bool, Parameter(**_PLAIN)]
Text = Annotated[str, Parameter(show_default=False)]


@app.command
def audit(
    table: str,
    /,
    *,
    by: Text = "",
    label: str = "label",
    baseline: str | None = None,
    compressed: Text = "",
    decide: Repeated = (),
    positive: str | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    metrics: str | None = None,
    weight: str | None = None,
    subject: str | None = None,
    seed_column: str | None = None,
    row_id: str = "row_id",
    bins: Repeated = (),
    missing: str = "group",
    correction: str = "holm",
    family: str = "artifact",
    pair: Repeated = (),
    pair_from: str | None = None,
    merge: Repeated = (),
    export_cells: Path | None = None,
    html: Path | None = None,
    markdown: Path | None = None,
    latex: Path | None = None,
    four_fifths: Flag = False,
    embed: Repeated = (),
    card: Repeated = (),
    fail_on: Annotated[str | None, Parameter(show_default=False)] = None,
    require: Repeated = (),
    force: Flag = False,
    json_: Annotated[bool, Parameter("--json", **_PLAIN)] = False,
) -> int:
    """Audit a table of predictions (Parquet or CSV) from any framework.

    Example: fairpress audit preds.parquet --label y --baseline fp32 --compressed int8 --by 'sex,race,sex*race'

    Parameters
    ----------
    table
        One row per example: label, sensitive attributes, and a column of classes per model. Globs are allowed.
        An address whose last part is a table, such as duckdb:///file.db/predictions, is counted where it is.
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
        The class that rates speak of; by default the one that `predict` recorded, or 1, yes or true. With more than two
        classes and none named, accuracy and flips only.
    margin
        A loss above this is harm; 0.02 is two points.
    confidence
        Confidence level of all intervals.
    metrics
        The losses that are judged, of accuracy,tpr,fpr; all by default.
    weight
        Column of row weights.
    subject
        Column that says who a row is about, where people have several rows.
    seed_column
        Column of training seeds, where runs are stacked.
    row_id
        Column of row ids, needed with --seed-column.
    bins
        Cut a numeric attribute into groups: 'age=25,45'. May be repeated.
    missing
        Missing attribute values: group (a group of their own) or refuse.
    correction
        Of p-values: holm (the chance of any false finding), bh or by (the share of false findings).
    family
        What is corrected together: the tests of each artifact, or of the whole study (all --compressed).
    pair
        Two groups whose difference in differences is wanted: 'sex=Female|Male', or
        'sex*race=Female,Black|Male,White'. May be repeated.
    pair_from
        Another table, such as validation rows, on which the pair with the baseline's largest gap is chosen.
    merge
        Another table of the same columns, or of cells, to be added. May be repeated.
    export_cells
        Write the counts here (Parquet): what another site can merge without seeing a row.
    html
        Write the one-file report here.
    markdown
        Write the audit as Markdown here, for a pull request.
    latex
        Write the audit as LaTeX tables here.
    four_fifths
        Print impact ratios of every model (four-fifths rule): of selection rates, and of scoring rates where the
        table has scores.
    embed
        Put a summary of the audit into a model's ONNX file: 'int8=int8/'. May be repeated.
    card
        Write a model card with what the audit says into a model folder, as README.md: 'int8=int8/'; or, where
        predictions are all you have, into a file: 'int8=int8.md'. May be repeated.
    fail_on
        Exit with 1 on these findings, comma-separated: harm, loss (a loss or harm), inconclusive, not-assessed (some
        group lacks rows for some metric). A void comparison, of a model that has nothing to lose, fails under each.
    require
        Groups that must be assessed, else exit with 1: 'race=Black,sex=Female', or 'sex*race=Female,Black' for an
        intersection. May be repeated.
    force
        Write a card or a summary into a folder that does not seem to be the model's, or in place of a file that
        fairpress did not write.
    json_
        Print audit.json instead of tables.
    """
    from fairpress import api, audits
    from fairpress.auditing.verdicts.gates import GATES, failures, gates_of, required_groups
    from fairpress.runtime.artifact import Artifact

    decisions = dict(
        _assigned(text, "--decide", "model=column>=number, such as base=decile_score>=5") for text in decide
    )
    edges = {
        name: _numbers(name, text) for name, text in (_assigned(b, "--bins", "attribute=25,45") for b in bins)
    }
    gates = gates_of(fail_on or "")
    if fail_on is not None and not gates:
        raise UserError(f"--fail-on names no finding; it takes {', '.join(GATES)}, or leave it out.")
    if not split_list(by):
        raise UserError(
            f"name the sensitive attributes with --by, e.g. --by sex,age_group.{_columns_of(table)}"
        )
    if four_fifths and json_:
        raise UserError("--four-fifths prints tables, and --json prints audit.json only; use one of them.")
    if baseline is None and len(decisions) == 1:
        baseline = next(iter(decisions))
    if baseline is None:
        raise UserError("name the baseline's column with --baseline.")
    names = [baseline, *split_list(compressed)]
    _require_commas(names[1:], "--compressed", "models", table)
    _require_commas(split_list(by), "--by", "attributes", table)
    if (gates or require) and not names[1:]:
        option = "--fail-on" if gates else "--require"
        raise UserError(
            f"{option} needs a compressed model to decide on; name it with --compressed, such as --compressed int8."
        )
    embedded, cards = _models(embed, "--embed", names), _models(card, "--card", names)
    outputs = {"--export-cells": export_cells, "--html": html, "--markdown": markdown, "--latex": latex}
    if export_cells is not None and export_cells.suffix.lower() not in (".parquet", ".pq"):
        raise UserError(f"--export-cells {export_cells}: cells are written as Parquet; name a .parquet file.")
    into = {f"--card {name}": audits.card_file(place) for name, place in cards}
    into |= {f"--embed {name}": str(Path(place) / "model.onnx") for name, place in embedded}
    read = written_files([table, *merge, *([pair_from] if pair_from is not None else [])])
    check_apart({**outputs, **into}, inputs=read)
    card_files = {f"--card {name}": place for name, place in cards if audits.is_card_file(place)}
    kinds = {"--export-cells": "cells", "--html": ".html", "--markdown": ".md", "--latex": ".tex"}
    check_files({**outputs, **card_files}, kinds=kinds, force=force)
    audits.check_model_outputs([f for _, f in embedded], [place for _, place in cards], force)
    source: Any = [table, *merge] if merge else table
    asked: dict[str, Any] = {
        "label": label,
        "baseline": baseline,
        "compressed": names[1:],
        "by": split_list(by),
        "positive": positive,
        "weight": weight,
    }
    rows: dict[str, Any] = {"decide": decisions, "bins": edges, "missing": missing}
    if export_cells is not None:
        if subject is not None or seed_column is not None:
            raise UserError(
                "a table of cells has neither people nor seeds; use --export-cells without --subject and --seed-column."
            )
        source, rows = api.export_cells(source, export_cells, **asked, **rows, force=force), {}
        few = sum(n < SMALL_CELL for n in source["fairpress.rows"].to_pylist())
        print_written(
            f"written: {export_cells}, {source.num_rows:,} cells; {few:,} stand for fewer than {SMALL_CELL} rows.",
            json_,
        )
    report = api.audit(
        source,
        **asked,
        **rows,
        margin=margin,
        confidence=confidence,
        metrics=None if metrics is None else split_list(metrics),
        subject=subject,
        seed_column=seed_column,
        row_id=row_id,
        correction=correction,
        family=family,
        pairs=pair,
        pairs_from=pair_from,
    )
    asked_of_scores: dict[str, Any] = {k: asked[k] for k in ("label", "by", "positive")}
    asked_of_scores |= {k: rows[k] for k in ("bins", "missing") if k in rows} | {"confidence": confidence}
    required = required_groups(require, report)
    for name, folder in embedded:
        audits.require_same(folder, Artifact.load(folder), report, name, force=force)
    for name, target in cards:
        if not audits.is_card_file(target):
            audits.require_same(target, Artifact.load(target), report, name, force=force)
    ratios = _ratios(report, source, asked_of_scores) if four_fifths else []
    if html is not None:
        report.to_html(html, title=f"Audit of {_name_of(table)}", force=force)
    if markdown is not None:
        report.to_markdown(markdown, force=force)
    if latex is not None:
        report.to_latex(latex, force=force)
    for name, folder in embedded:
        audits.embed_audit(folder, report, name, force=force)
    for name, target in cards:
        audits.write_card(target, report, name, force=force)
    if json_:
        write_output(json.dumps(report.to_dict(), indent=1, allow_nan=False))
    else:
        show_audit(report)
        for text in ratios:
            print_line(text, markup=False, soft_wrap=True)
    written = [html, markdown, latex, *(audits.card_file(place) for _, place in cards)]
    for place in [
        *(str(w) for w in written if w is not None),
        *(str(Path(f) / "model.onnx") for _, f in embedded),
    ]:
        print_written(f"written: {place}", json_)
    reasons = failures(report, gates, required)
    for reason in reasons:
        print_written(f"gate failed: {reason}", True)
    return GATE_FAILED if reasons else 0


def _name_of(table: str) -> str:
    """Return what a table is called in a report; the password of an address is not in it."""
    from fairpress.auditing.cells.ibis_source import is_address
    from fairpress.core.urls import redact_url

    return Path(redact_url(table) if is_address(table) else table).name


def _ratios(report: Any, source: Any, asked: dict[str, Any]) -> list[str]:
    """Return the impact ratios of every model, of selection and, where two classes have scores, of scoring rates."""
    from fairpress.audits import scoring_ratios

    found = []
    for model in report.models:
        found.append(report.four_fifths(model.name))
        if len(report.classes) <= 2:
            found.append(scoring_ratios(source, model.name, **asked))
    return [text for text in found if text]


def _columns_of(table: str) -> str:
    """Return the sentence that lists a table's columns; nothing where it cannot be read."""
    columns = _columns(table)
    shown = ", ".join(columns[:MAX_COLUMNS]) + (", …" if len(columns) > MAX_COLUMNS else "")
    return f" Columns in this table: {shown}." if columns else ""


def _columns(table: str) -> list[str]:
    from fairpress.auditing.audit import open_source
    from fairpress.auditing.cells.ibis_source import is_address

    return [] if is_address(table) else list(open_source(table).columns)


def _require_commas(names: Sequence[str], option: str, what: str, table: str) -> None:
    """Raise UserError where several names are written as one: with blanks or semicolons between them."""
    for name in names:
        parts = name.replace(";", " ").split()
        if len(parts) > 1:
            columns = {c.partition(".score")[0] for c in _columns(table)}
            if name not in columns and any(part in columns for part in parts):
                raise UserError(f"separate {what} with commas: {option} {','.join(parts)}.")


def _assigned(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise UserError(f"{option} {text!r}: write {form}.")
    return name.strip(), value.strip()


def _models(asked: Sequence[str], option: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return model and place of each; looked at before the work, so that nothing is written where one is wrong."""
    from fairpress.audits import is_card_file
    from fairpress.runtime.artifact import Artifact

    form = "model=folder, such as int8=int8/" + (", or model=file.md" if option == "--card" else "")
    found = [_assigned(text, option, form) for text in asked]
    for name, place in found:
        if name not in names:
            raise UserError(f"{option}: the audit has no model {name!r}." + did_you_mean(name, names))
        if option == "--card" and is_card_file(place):
            require_file(place)
        else:
            Artifact.load(place)
    return found


def _numbers(name: str, text: str) -> Sequence[float]:
    try:
        return [float(part) for part in split_list(text)]
    except ValueError:
        raise UserError(f"--bins {name}={text}: edges are numbers, such as {name}=25,45.") from None
