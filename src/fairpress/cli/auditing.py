"""`fairpress audit`: from a table of predictions to a verdict and an exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fairpress.cli.program import FAILED_GATE, app, listed, show_audit
from fairpress.core.errors import UserError


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
        compressed=listed(compressed),
        by=listed(by),
        positive=positive,
        decide=decisions,
        margin=margin,
        confidence=confidence,
        metrics=listed(metrics),
        seed_column=seed_column,
        row_id=row_id,
    )
    if html is not None:
        report.to_html(html, title=f"Audit of {Path(table).name}")
    if json_:
        print(json.dumps(report.to_dict(), indent=1, allow_nan=False))  # noqa: T201
    else:
        show_audit(report)
    failing = {"harm", "loss"} if "harm" in gates else set()
    failing |= gates & {"inconclusive"}
    return FAILED_GATE if any(c.verdict in failing for c in report.comparisons) else 0
