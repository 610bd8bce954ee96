"""The threshold of a score at which the false positive rate of other rows is what was asked for.

Of pairs of people the false positive rate is the false match rate (FMR) and the false negative rate the false non-match
rate (FNMR; ISO/IEC 19795-1). A threshold that is chosen on the audited rows themselves would hold their rate down by chance;
it belongs to rows that are not audited, such as those of other people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.cells.query_result import encode, numbers
from fairpress.auditing.options import checked_confidence
from fairpress.auditing.statistics.proportion_intervals import wilson
from fairpress.core.errors import UserError, listed
from fairpress.core.estimate import Estimate
from fairpress.core.public_function import public_function
from fairpress.core.values import named_positive, resolve, spelling

ENOUGH = 30
"""Errors that a rate should rest on: with 30 it is within 30 % of the truth at 90 % confidence (Doddington et al. 2000)."""

SMALLEST_ROUNDED = 1e-290
"""Thresholds nearer to 0 keep all their digits: the power of ten that rounds them is no float."""


@dataclass(frozen=True)
class OperatingThreshold:
    """A model's threshold, and its errors on the rows on which it was chosen.

    Attributes
    ----------
    model, column
        The model and the column of its score.
    threshold
        Scores of at least this are positive.
    false_positive_rate, false_negative_rate
        On the rows on which the threshold was chosen; an audit of other rows shows what it does elsewhere.
    few
        Whether the false positive rate rests on fewer than `ENOUGH` errors.
    """

    model: str
    column: str
    threshold: float
    false_positive_rate: Estimate
    false_negative_rate: Estimate
    few: bool

    @property
    def decide(self) -> str:
        """The rule, as the audit's option `decide` writes it: ``int8.score>=0.61``."""
        return f"{self.column}>={self.threshold!r}"


@public_function
def thresholds(
    table: Any,
    models: Sequence[str] | str,
    *,
    fpr: float,
    label: str = "label",
    positive: Any = None,
    subject: str | None = None,
    shared: bool = False,
    confidence: float = 0.95,
) -> list[OperatingThreshold]:
    """Return the lowest threshold of each model whose false positive rate on these rows is at most `fpr`.

    Parameters
    ----------
    table
        Rows that are not audited, as `audit` reads them, with a score `M.score` (or `M`, if it holds numbers) per model M.
        Any scale will do, the higher the more positive.
    models
        The models, the baseline first.
    fpr
        The requested rate, pooled over all groups, such as 0.001.
    positive
        The positive class, such as ``"same"``; by default 1, yes or true.
    subject
        Column of people or blocks of people, whose rows are not independent; it widens the intervals.
    shared
        Whether all models get the threshold of the first, as where a new file meets an old threshold.

    Raises
    ------
    UserError
        A column is missing or holds other values than numbers, the label does not have two classes, or there are fewer than
        1 / `fpr` negative rows.
    """
    if not 0 < fpr < 1:
        raise UserError(f"`fpr={fpr:g}` is not between 0 and 1; 0.001 is one false match in a thousand.")
    confidence = checked_confidence(confidence)
    source = open_source(table)
    names = [models] if isinstance(models, str) else list(models)
    columns = {m: f"{m}.score" if f"{m}.score" in source.columns else m for m in names}
    source.require(label, "the label")
    for model, column in columns.items():
        source.require(column, f"the score of model {model!r}")
        source.number(column, f"the score of model {model!r}")
    if subject is not None:
        source.require(subject, "the subject")
    keys = [source.column(label), source.column(subject) if subject is not None else "0"]
    scores = [f"coalesce({source.as_number(column)}, 'nan'::DOUBLE)" for column in columns.values()]
    read = source.read(
        f"SELECT {', '.join(f'{e} AS c{i}' for i, e in enumerate([*keys, *scores]))} FROM {source.relation}"
    )
    positives = _positives(encode(read["c0"]), label, positive)
    units = encode(read["c1"]).codes if subject is not None else None
    out: list[OperatingThreshold] = []
    for i, (model, column) in enumerate(columns.items()):
        values = np.asarray(numbers(read[f"c{i + 2}"]), float)
        if not np.isfinite(values).all():
            raise UserError(
                f"the score {column!r} is missing in {int((~np.isfinite(values)).sum()):,} rows; leave them out."
            )
        at = (
            out[0].threshold
            if shared and out
            else lowest_threshold(values[~positives], values[positives], fpr)
        )
        matched = values >= at
        false_positives = _rate(matched, ~positives, units, confidence)
        false_negatives = _rate(~matched, positives, units, confidence)
        few = int((matched & ~positives).sum()) < ENOUGH
        out.append(OperatingThreshold(model, column, at, false_positives, false_negatives, few))
    return out


def lowest_threshold(negatives: np.ndarray, positives: np.ndarray, fpr: float) -> float:
    """Return the threshold with the fewest digits that at most a share `fpr` of the negatives reach.

    It lies above the score of the first negative that must not match, and not above the next score of any row. Raises
    UserError with fewer than 1 / `fpr` negatives.
    """
    allowed = math.floor(fpr * len(negatives) * (1 + 1e-12))
    if allowed < 1:
        raise UserError(
            f"{len(negatives):,} negative rows cannot show a rate of {fpr:g}: that takes {math.ceil(1 / fpr):,}, and "
            f"{math.ceil(ENOUGH / fpr):,} for {ENOUGH} errors; add rows, or take a higher rate."
        )
    below = float(np.sort(negatives)[::-1][allowed]) if allowed < len(negatives) else -math.inf
    if below == -math.inf:
        return float(negatives.min())
    above = np.concatenate([negatives[negatives > below], positives[positives > below]])
    upper = float(above.min()) if len(above) else below + max(abs(below), 1.0) * 1e-6
    if 0 < abs(upper) < SMALLEST_ROUNDED:
        return upper
    for digits in range(1, 18):
        step = 10.0 ** (digits - 1 - math.floor(math.log10(abs(upper)))) if upper else 10.0**digits
        rounded = math.floor(upper * step) / step
        if below < rounded <= upper:
            return rounded
    return upper


def _positives(labels: Any, label: str, positive: Any) -> np.ndarray:
    """Return which rows are of the positive class [rows]."""
    spelled = [spelling(c) for c in labels.values]
    classes = ["(missing)" if c is None else c for c in spelled]
    if len(classes) != 2 or None in spelled:
        raise UserError(
            f"the label {label!r} needs two classes and no missing value, and has {listed(classes, 6)}."
        )
    chosen = named_positive(classes) if positive is None else resolve(positive, classes)
    if chosen not in classes:
        given = "which of them is positive is not known" if positive is None else f"{positive!r} is neither"
        raise UserError(
            f"the classes of {label!r} are {listed(classes)}, and {given}; name one with `positive=`."
        )
    return np.asarray(labels.codes == classes.index(str(chosen)))


def _rate(errors: np.ndarray, rows: np.ndarray, units: np.ndarray | None, confidence: float) -> Estimate:
    """Return the share of `rows` [rows] that are errors, with Wilson's interval at the units' effective number of rows."""
    n = int(rows.sum())
    if not n:
        return Estimate(None, reason="no such rows")
    x = int((errors & rows).sum())
    deff = 1.0 if units is None else _design_effect(errors[rows], units[rows])
    low, high = wilson(x, n, confidence, deff)
    return Estimate(x / n, float(low), float(high), n, "wilson" if units is None else "wilson, clusters")


def _design_effect(errors: np.ndarray, units: np.ndarray) -> float:
    """Return a rate's variance over clusters (a ratio of sums, Cochran 1977) over that of independent rows; at least 1."""
    rate = errors.mean()
    _, codes = np.unique(units, return_inverse=True)
    count = int(codes.max()) + 1
    if count < 2 or rate in (0.0, 1.0):
        return max(1.0, len(errors) / count)
    residuals = np.bincount(codes, errors - rate)
    variance = count / (count - 1) * float(np.square(residuals).sum()) / len(errors) ** 2
    return max(1.0, float(variance / (rate * (1 - rate) / len(errors))))
