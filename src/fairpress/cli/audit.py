"""`fairpress audit`: from a table of predictions to a verdict and an exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from fairpress.cli.app import app, print_markdown, show_audit, split_list, write_output
from fairpress.cli.audit_arguments import assigned, columns_of, models, numbers, require_commas
from fairpress.cli.exit_codes import GATE_FAILED
from fairpress.cli.gate import gate_line, show_gate
from fairpress.cli.logs import LogOptions, read_logs
from fairpress.cli.monitor import record_use, say_where_looks_count, show_monitored
from fairpress.cli.outcome import refuse_with_outcome
from fairpress.cli.usage_errors import EXAMPLES, in_options
from fairpress.cli.written import print_files, print_written, written_files
from fairpress.core.errors import UserError
from fairpress.core.output import check_apart, check_files

if TYPE_CHECKING:
    from fairpress.auditing.options import AuditOptions

SMALL_CELL = 5

_PLAIN = {"negative": "", "show_default": False}
Repeated = Annotated[tuple[str, ...], Parameter(consume_multiple=False, **_PLAIN)]
Flag = Annotated[bool, Parameter(**_PLAIN)]
Text = Annotated[str, Parameter(show_default=False)]


@app.command
def audit(
    table: str | None = None,
    /,
    *,
    by: Text = "",
    label: str | None = None,
    baseline: str | None = None,
    compressed: Text = "",
    decide: Repeated = (),
    positive: str | None = None,
    outcome: str | None = None,
    margin: Repeated = (),
    min_rows: Repeated = (),
    confidence: float | None = None,
    harm: str | None = None,
    metrics: str | None = None,
    weight: str | None = None,
    subject: str | None = None,
    seed_column: str | None = None,
    row_id: str = "row_id",
    bins: Repeated = (),
    missing: str = "group",
    correction: str | None = None,
    family: str = "artifact",
    pair: Repeated = (),
    pair_from: str | None = None,
    counterfactual: str | None = None,
    merge: Repeated = (),
    export_cells: Path | None = None,
    html: Path | None = None,
    pdf: Path | None = None,
    markdown: Path | None = None,
    latex: Path | None = None,
    four_fifths: Flag = False,
    embed: Repeated = (),
    card: Repeated = (),
    fail_on: Annotated[str | None, Parameter(show_default=False)] = None,
    require: Repeated = (),
    gate: Flag = False,
    policy: Path | None = None,
    monitor: Path | None = None,
    force: Flag = False,
    all_: Annotated[bool, Parameter("--all", **_PLAIN)] = False,
    json_: Annotated[bool, Parameter("--json", **_PLAIN)] = False,
    logs: Annotated[LogOptions, Parameter(name="*")] = LogOptions(),  # noqa: B008
) -> int:
    """Audit a table of predictions (Parquet or CSV) from any framework, or logs of evaluations.

    Example: fairpress audit preds.parquet --label y --baseline fp32 --compressed int8 --by 'sex,race,sex*race'

    Logs: fairpress audit --lm-eval base=out/fp16/ q4=out/q4/ --by language,category

    Parameters
    ----------
    table
        One row per example: label, sensitive attributes, and a column of predicted classes per model. Globs are allowed.
        An address that ends in a table, such as duckdb:///file.db/predictions, is aggregated in its database.
    by
        Sensitive attributes, comma-separated; sex*race is the intersection.
    label
        Column of the true classes (label).
    baseline
        Column of the model before compression.
    compressed
        Columns of the compressed models, comma-separated; without it, only rates and gaps of the baseline.
    decide
        Define a model by a threshold on a numeric score: 'base=decile_score>=5'. May be repeated.
    positive
        The positive class; by default the one that `predict` recorded, or 1, yes or true. With more than two classes and
        no positive class, only accuracy and flips are audited.
    outcome
        What to judge instead of a class: abs_error=age (numeric predictions), score,better=higher (a number per row and
        model), wer=edits/words (a ratio of sums); see docs/outcomes.md. By default what the table records, else a class.
    margin
        A loss above this is harm: 0.02 or 2pp is two percentage points (the default), '5% of baseline' a share of the
        baseline's own error; 'error=1pp,fnr=5% of baseline' for each error. With --outcome, a number in its unit.
    min_rows
        Rows that a group needs to be assessed: 200, or 'fnr=100'; by default what the margin asks for.
    confidence
        Confidence level of all intervals (0.95).
    harm
        The error whose rise decides, declared before looking: error (error rate, the default), fnr or fpr. The others can
        only make it worse.
    metrics
        The metrics to test: accuracy,tpr,fpr (all by default). 'accuracy,recall' also tests the recall of every class in
        every group, for labels with more than two classes.
    weight
        Column of row weights.
    subject
        Column that identifies the person, where people have several rows.
    seed_column
        Column of the training seed, where the rows of several runs are stacked.
    row_id
        Column of row ids, needed with --seed-column.
    bins
        Cut a numeric attribute into groups: 'age=25,45'. May be repeated.
    missing
        Missing attribute values: group (treat them as a separate group) or refuse.
    correction
        Correction of p-values: westfall-young (the default) or holm (family-wise error rate), bh or by (false discovery
        rate).
    family
        Tests that are corrected together: those of each artifact, or of the whole study (all --compressed).
    pair
        Two groups for a difference in differences: 'sex=Female|Male', or
        'sex*race=Female,Black|Male,White'. May be repeated.
    pair_from
        Another table, such as validation rows, on which to choose the pair with the largest gap of the baseline.
    counterfactual
        Column of templates, whose rows differ in identity (--by) alone: the share of pairs of rows of one template that are
        predicted differently, before and after.
    merge
        Another table to add, with the same columns or of cells. May be repeated.
    export_cells
        Write the counts here (Parquet), which another site can merge without access to any row.
    html
        Write the self-contained HTML report here.
    pdf
        Print the report as PDF here. Needs Chromium, Chrome or Edge on this machine.
    markdown
        Write the audit as Markdown here, for a pull request.
    latex
        Write the audit as LaTeX tables here.
    four_fifths
        Print impact ratios of every model (four-fifths rule), of selection rates and, where the table has scores, of
        scoring rates.
    embed
        Embed a summary of the audit in a model's ONNX file: 'int8=int8/'. May be repeated.
    card
        Write a model card with the results of the audit into a model folder, as README.md: 'int8=int8/'; or, for a table
        of predictions without a model, into a file: 'int8=int8.md'. May be repeated.
    fail_on
        An alarm: exit with 1 on these verdicts, comma-separated: harm, loss (a loss or harm), inconclusive, not-assessed
        (some group lacks rows for some metric). It passes what it does not know: the fewer rows, the more easily. A void
        comparison fails under each of them. To pass only what is shown, use --gate.
    require
        Exit with 1 unless these groups are assessed: 'race=Black,sex=Female', or 'sex*race=Female,Black' for an
        intersection. May be repeated.
    gate
        Exit with 1 unless, for every assessed group, every pool and all people, the bound of the error that decides is
        below its margin, and no harm is shown: inconclusive is not a pass. A policy may name the groups.
    policy
        Take margins, groups and whatever else it fixes from a signed policy (YAML), and record it; see `fairpress gate`.
    monitor
        Ledger (JSON) of the uses of this test set, for audits that are repeated after more rows or for other releases: each
        use is appended, and verdicts hold at any number of looks. Top up by appending rows to the same table. A gate then
        fails on these verdicts, too.
    force
        Write a card or a summary into a folder that does not seem to be the model's, or replace a file that fairpress
        did not write.
    all_
        Print all groups; without it, those whose loss is shown or open.
    json_
        Print the audit as JSON instead of tables.
    """
    from fairpress.auditing.audit_table import audit_table
    from fairpress.auditing.cells.open_source import open_source
    from fairpress.auditing.export_cells import export_table
    from fairpress.auditing.options import AuditOptions
    from fairpress.auditing.outcome import outcome_request
    from fairpress.auditing.table_metadata import recorded_outcome
    from fairpress.auditing.verdicts.gates import GATES, failures, gates_of, required_groups
    from fairpress.auditing.verdicts.policy_option import policy_of
    from fairpress.reporting import model_outputs
    from fairpress.reporting.audit_report import AuditReport
    from fairpress.reporting.pdf import find_browser

    decisions = dict(
        assigned(text, "--decide", "model=column>=number, such as base=decile_score>=5") for text in decide
    )
    edges = {
        name: numbers(name, text) for name, text in (assigned(b, "--bins", "attribute=25,45") for b in bins)
    }
    gates = gates_of(fail_on or "")
    if fail_on is not None and not gates:
        raise UserError(f"--fail-on is empty; use {', '.join(GATES)}, or leave it out.")
    signed = policy_of(policy)
    attributes = split_list(by) or ([] if signed is None else list(signed.by))
    named = [*(n.strip() for text in attributes for n in text.split("*")), subject, weight, *edges]
    log = read_logs(logs, table, label, [name for name in named if name])
    if log is None and table is None:
        raise UserError(
            f"audit needs TABLE: {EXAMPLES['TABLE']}; or logs, with --lm-eval, --inspect or --pair-files."
        )
    title, inputs = (_name_of(str(table)), [str(table)]) if log is None else (log.title, log.files)
    table = table if log is None else log.table
    if not attributes:
        raise UserError(
            f"name the sensitive attributes with --by, e.g. --by sex,age_group.{columns_of(table)}"
        )
    if four_fifths and json_:
        raise UserError("--four-fifths prints tables, but --json prints JSON only; use one of them.")
    if baseline is None and signed is not None:
        baseline = signed.baseline
    if baseline is None and len(decisions) == 1:
        baseline = next(iter(decisions))
    if baseline is None and log is not None:
        baseline = next(iter(log.models))
    if log is not None and not compressed and (signed is None or not signed.compressed):
        compressed = ",".join(name for name in log.models if name != baseline)
    if baseline is None:
        raise UserError("name the column of the baseline with --baseline, such as --baseline fp32.")
    names = [baseline, *(split_list(compressed) or (() if signed is None else signed.compressed or ()))]
    require_commas(names[1:], "--compressed", "models", table)
    require_commas(attributes, "--by", "attributes", table)
    if (gates or require or gate) and not names[1:]:
        option = "--fail-on" if gates else "--require" if require else "--gate"
        raise UserError(
            f"{option} needs a compressed model; name it with --compressed, such as --compressed int8."
        )
    embedded, cards = models(embed, "--embed", names), models(card, "--card", names)
    outputs = {
        "--export-cells": export_cells,
        "--html": html,
        "--pdf": pdf,
        "--markdown": markdown,
        "--latex": latex,
    }
    outputs["--monitor"] = monitor
    if export_cells is not None and export_cells.suffix.lower() not in (".parquet", ".pq"):
        raise UserError(f"--export-cells {export_cells}: cells are written as Parquet; name a .parquet file.")
    model_files = {f"--card {name}": model_outputs.card_file(path) for name, path in cards}
    model_files |= {f"--embed {name}": str(Path(path) / "model.onnx") for name, path in embedded}
    input_files = written_files([*inputs, *merge, *([pair_from] if pair_from is not None else [])])
    check_apart({**outputs, **model_files}, inputs=input_files)
    card_files = {f"--card {name}": path for name, path in cards if model_outputs.is_card_file(path)}
    kinds = {
        "--export-cells": "cells",
        "--html": ".html",
        "--pdf": ".pdf",
        "--markdown": ".md",
        "--latex": ".tex",
        "--monitor": ".json",
    }
    check_files({**outputs, **card_files}, kinds=kinds, force=force)
    if pdf is not None:
        find_browser()
    model_outputs.check_model_outputs([f for _, f in embedded], [path for _, path in cards], force)
    given: dict[str, Any] = {
        "positive": positive,
        "margin": margin or None,
        "min_rows": min_rows or None,
        "confidence": confidence,
        "harm": harm,
        "metrics": None if metrics is None else split_list(metrics),
        "weight": weight,
        "subject": subject,
        "correction": correction,
        "label": label,
        "outcome": outcome or recorded_outcome(table),
    }
    if monitor is not None and "recall" in (given["metrics"] or ()):
        raise UserError(
            "--monitor does not go with the metric recall: a ledger records errors of groups, not of single classes. Leave "
            "one of them out."
        )
    judged = outcome_request(given["outcome"] or (None if signed is None else signed.outcome))
    if judged is not None:
        refuse_with_outcome(str(judged), {**outputs, "--four-fifths": four_fifths or None})
    options = AuditOptions(
        baseline=baseline,
        compressed=names[1:],
        by=attributes,
        decide=decisions,
        seed_column=seed_column,
        row_id=row_id,
        bins=edges,
        missing=missing,
        family=family,
        pairs=pair,
        pairs_from=pair_from,
        counterfactual=counterfactual,
        policy=signed,
        **{name: value for name, value in given.items() if value is not None},
    )
    source: Any = open_source([table, *merge] if merge else table)
    if export_cells is not None:
        if subject is not None or seed_column is not None:
            raise UserError(
                "a table of cells records neither people nor seeds; use --export-cells without --subject and --seed-column."
            )
        cells = export_table(source, options, export_cells, force=force)
        small_cells = sum(n < SMALL_CELL for n in cells["fairpress.rows"].to_pylist())
        print_written(
            f"Written: {export_cells}, {cells.num_rows:,} cells; {small_cells:,} count fewer than {SMALL_CELL} rows.",
            json_,
        )
    report = AuditReport.of(audit_table(source, options))
    report = replace(report, warnings=_in_options(report.warnings), notes=_in_options(report.notes))
    required = required_groups(require, report)
    folders = [*embedded, *((n, target) for n, target in cards if not model_outputs.is_card_file(target))]
    if folders:
        from fairpress.runtime.artifact import Artifact
    for name, folder in folders:
        model_outputs.require_same(folder, Artifact.load(folder), report, name, force=force)
    ratios = _ratios(report, source, options) if four_fifths else []
    recorded = record_use(report, source, monitor, options)
    report = say_where_looks_count(report, monitor)
    if html is not None:
        report.to_html(html, title=f"Audit of {title}", force=force)
    if pdf is not None:
        report.to_pdf(pdf, title=f"Audit of {title}", force=force)
    if markdown is not None:
        report.to_markdown(markdown, force=force)
    if latex is not None:
        report.to_latex(latex, force=force)
    for name, folder in embedded:
        model_outputs.embed_audit(folder, report, name, force=force)
    for name, target in cards:
        model_outputs.write_card(target, report, name, force=force)
    if json_:
        write_output(json.dumps(report.to_dict(), indent=1, allow_nan=False))
    else:
        show_audit(report, all_groups=all_)
        for text in ratios:
            print_markdown(text)
    written = [html, pdf, markdown, latex, *(model_outputs.card_file(path) for _, path in cards)]
    written += [Path(folder) / "model.onnx" for _, folder in embedded]
    print_files([path for path in written if path is not None], json_)
    reasons = failures(report, gates, required)
    reasons += show_monitored(recorded, monitor, gates, json_)
    for reason in reasons:
        print_written(f"gate failed: {reason}", True)
    if report.comparisons and not json_:
        print_written(gate_line(report, gates, bool(reasons)), False)
    passed = not gate or show_gate(report)
    return GATE_FAILED if reasons or not passed else 0


def _in_options(sentences: Sequence[str]) -> tuple[str, ...]:
    """Return the warnings or notes of an audit with the options of the command line in place of Python's parameters."""
    return tuple(
        in_options(text, ("--positive", "--subject", "--seed-column", "--log-metric")) for text in sentences
    )


def _name_of(table: str) -> str:
    """Return the name of a table in a report, without the password of an address."""
    from fairpress.auditing.cells.ibis_source import is_address
    from fairpress.core.urls import redact_url

    return Path(redact_url(table) if is_address(table) else table).name


def _ratios(report: Any, source: Any, options: AuditOptions) -> list[str]:
    """Return the impact ratios of every model: of selection rates and, for two classes with scores, of scoring rates."""
    from fairpress.reporting.audit_report import scoring_ratios

    texts = []
    for model in report.models:
        texts.append(report.four_fifths(model.name))
        if len(report.classes) <= 2:
            texts.append(scoring_ratios(source, model.name, options))
    return [text for text in texts if text]
