"""Audit a predictions table: the function for users, with every option as a keyword."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairpress.auditing.result import Audit


def audit(
    table: Any,
    *,
    label: str = "label",
    baseline: str | None = None,
    compressed: Sequence[str] | str | None = None,
    by: Sequence[str] | str | None = None,
    positive: str | float | None = None,
    decide: Mapping[str, str] | None = None,
    outcome: str | Mapping[str, str] | None = None,
    margin: float | str | Sequence[str] | Mapping[str, Any] | None = None,
    min_rows: int | str | Mapping[str, int] | None = None,
    confidence: float = 0.95,
    harm: str = "error",
    metrics: Sequence[str] | str | None = None,
    weight: str | None = None,
    subject: str | None = None,
    seed_column: str | None = None,
    row_id: str = "row_id",
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    correction: str = "westfall-young",
    family: str = "artifact",
    pairs: str | Sequence[str | tuple[Mapping[str, str], Mapping[str, str]]] = (),
    pairs_from: Any = None,
    policy: Any = None,
) -> Audit:
    """Audit compressed models against a baseline on the same rows.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow frame, the path of Parquet or CSV files, or a list of those; also tables of cells
        (`cells.export`), whose counts add up. An Ibis table, or an address such as
        ``snowflake://account/database/schema/table``, is aggregated in its database.
    label
        Column of true classes.
    baseline, compressed
        Models: columns of predicted classes. By default those that the table records (`predict` writes them), the first of
        them being the baseline. Without a column M, ``M.score`` (the probability of the positive class) is
        thresholded at 0.5; with ``M.score.<class>`` only, the class with the largest score is predicted. Models with scores
        get score metrics, too (`score_metrics`). Without a compressed model, the audit has rates and gaps only.
    by
        Sensitive attributes, ``"sex"``, and intersections, ``"sex*race"``. One name may be given as a string. Required,
        unless a policy names them.
    positive
        The positive class; by default the one that the table records (`predict` writes it), else the one called 1, yes,
        true or positive, else the last of two in alphabetical order, which a note then reports. Where predictions come from
        scores, alphabetical order is not enough and the class must be named. With more than two classes and no positive
        class, only accuracy and flips are audited.
    decide
        Model → ``column>=number``, for models whose prediction is a threshold on a numeric score.
    outcome
        What to judge instead of a class: ``"abs_error=age"``, ``"wer=edits/words"``, ``"score,better=higher"``; more in
        docs/outcomes.md. By default what the table records (readers of logs do), else a class.
    margin
        δ: a loss above this is harm, 2 percentage points by default. A share of the people (0.02), ``"2pp"``, or ``"5% of
        baseline"``, a share of the baseline's own error in the same group; or one for each error, ``{"error": "1pp", "fnr":
        "5% of baseline"}``, the others at 2 percentage points. ``{"margin": "2pp", "reason": "…"}`` records why. Of an
        `outcome`, a number in its unit, which has to be given.
    min_rows
        Rows of the error's denominator that a group needs to be assessed, one number or one for each error; by default those
        that show "no harm" with 90 % power if 1 % of predictions flip.
    harm
        The error whose rise decides, declared before looking: ``"error"`` (the error rate), ``"fnr"`` or ``"fpr"``. The
        others are shown with their bounds and can only make a verdict worse.
    metrics
        The metrics whose losses are judged: accuracy, tpr, fpr; all three by default.
    weight
        Column of row weights; they are scaled to a mean of one, and every n is weighted.
    subject
        Column that identifies the person of each row; people are then the unit of every interval.
    seed_column
        Column of training seeds when runs are stacked; intervals then take seeds and rows as random.
    row_id
        Column that identifies the same row under different seeds; read only with `seed_column`.
    bins
        Numeric attribute → edges that cut it into groups.
    missing
        Missing attribute values: ``"group"`` (a separate group) or ``"refuse"``.
    correction
        ``"westfall-young"`` and ``"holm"`` control the family-wise error rate; ``"bh"`` and ``"by"`` control the false
        discovery rate. Westfall and Young's joint test is for rows that each count once; elsewhere Holm's correction takes
        its place.
    family
        Tests that are corrected together: the groups × metrics × attributes of each ``"artifact"``, or of the whole
        ``"study"``.
    pairs
        Pairs of groups for which to estimate the difference in differences: ``"sex=Female|Male"``,
        ``"sex*race=Female,Black|Male,White"``, or two groups as attribute → value.
    pairs_from
        Another table, such as validation rows, on which the pair with the baseline's largest gap is chosen for each
        attribute and judged metric.
    policy
        A signed policy (`verdicts.policy`): the path of its YAML file, or its content. It fixes the options that it names,
        and is recorded.

    Raises
    ------
    UserError
        The table or the arguments cannot be audited; the message gives the cause and the remedy.
    """
    options = {name: value for name, value in locals().items() if name != "table"}
    from fairpress.auditing.audit_table import audit_table
    from fairpress.auditing.options import options_of
    from fairpress.auditing.outcomes.recorded import recorded_outcome

    if outcome is None:
        options["outcome"] = recorded_outcome(table)
    return audit_table(table, options_of(options))
