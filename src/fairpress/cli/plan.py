"""`fairpress plan`: before there is a result, the rows that each group needs or the margin that its rows can show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, split_list, write_output
from fairpress.cli.outcome import plan_by_deviation

Text = Annotated[str, Parameter(show_default=False)]


@app.command
def plan(
    *,
    flips: float | None = None,
    by_counts: Path | None = None,
    table: str | None = None,
    by: Text = "",
    sd: float | None = None,
    margin: str = "0.02",
    confidence: float = 0.95,
    assurance: float = 0.8,
    loss: float = 0.0,
    metrics: str = "accuracy",
    baseline: str | None = None,
    compressed: str | None = None,
    json_: Annotated[bool, Parameter("--json", negative="", show_default=False)] = False,
) -> int:
    """Plan an audit: rows that each group needs, its chance of "no harm" now, and the smallest margin its rows can show.

    Example: fairpress plan --margin 0.02 --flips 0.03 --by-counts groups.csv

    Parameters
    ----------
    flips
        Expected share of predictions that compression changes, either way: 0.03 is 3 %.
    by_counts
        CSV file with a line for each group: its sensitive attributes, n and, for rates, positives.
    table
        Instead of counts, a table of rows (Parquet or CSV); labels are not needed. With --baseline and --compressed the
        flips are counted, and bound the loss of accuracy of each group whatever the labels are.
    by
        Sensitive attributes, comma-separated; sex*race is the intersection. By default, for counts, that of all columns.
    sd
        For an outcome that is a number: the standard deviation of the difference between the two models in a row, from a
        pilot; margin and loss are then in its unit. Prints the rows (or people) that each group needs.
    margin
        The margin of the audit, 0.02 or 2pp for two percentage points.
    confidence
        Confidence level of the audit.
    assurance
        Requested chance of "no harm" in a group.
    loss
        True loss that is expected in every group, for example 0.005; by default none.
    metrics
        Metrics to plan, comma-separated: accuracy,tpr,fpr. The last two need positives in the counts.
    baseline
        Column of the model before compression, with --table.
    compressed
        Column of the compressed model, with --table.
    json_
        Print the plan as JSON.
    """
    if sd is not None:
        others = {"--flips": flips, "--by-counts": by_counts, "--table": table, "--by": by or None}
        return plan_by_deviation(sd, margin, loss, confidence, assurance, others, json_)
    from fairpress import api
    from fairpress.reporting.row_plan import render

    result = api.plan(
        by_counts,
        table=table,
        by=split_list(by),
        flips=flips,
        margin=margin,
        confidence=confidence,
        assurance=assurance,
        loss=loss,
        metrics=split_list(metrics),
        baseline=baseline,
        compressed=compressed,
    )
    if json_:
        write_output(json.dumps(result.to_dict(), indent=1, allow_nan=False))
    else:
        print_line(render(result), markup=False, soft_wrap=True)
    return 0
