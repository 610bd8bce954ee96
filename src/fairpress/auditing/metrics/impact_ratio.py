"""Impact ratios with the four-fifths rule, as required by New York City's Local Law 144.

A category's selection rate over the largest one; for scores the *scoring rate*, the share of a category above the median of
the sample (Rules of the City of New York, title 6, §5-301 and §5-302; the rule of four fifths: 29 CFR 1607.4 D).
Categories of less than 2 % of the data may be left out of the ratio; they are listed with their counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.positive_class import PositiveClass, positive_note
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.result import Audit, Values
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo
from fairpress.auditing.statistics.range_bounds import pair_quantile
from fairpress.auditing.statistics.rate_ranges import ratio_limits
from fairpress.core.attribute import Attribute, parse_attributes
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.estimate import Estimate

FOUR_FIFTHS = 0.8
MIN_SHARE = 0.02


@dataclass(frozen=True)
class Category:
    """A category with its selection (or scoring) rate and its impact ratio.

    `excluded` is True for less than 2 % of the data: shown, but neither the reference nor judged. `below` is True when the
    ratio is below four fifths; `shown_below` when its whole interval is.
    """

    values: Values
    n: float
    selected: float
    rate: float
    ratio: Estimate
    excluded: bool
    below: bool | None
    shown_below: bool | None


@dataclass(frozen=True)
class ImpactRatios:
    """The categories of one attribute, largest rate first.

    `median`: the sample's median score, where the rates are scoring rates.
    """

    model: str
    attribute: str
    categories: tuple[Category, ...]
    median: float | None = None


def impact_ratios(audit: Audit, model: str, confidence: float | None = None) -> list[ImpactRatios]:
    """Return the impact ratios of one audited model, an entry per audited attribute.

    Raises UserError when the model was not audited or there is no positive class.
    """
    names = [m.name for m in audit.models]
    if model not in names:
        raise UserError(f"the audit has no model {model!r}." + did_you_mean(model, names))
    if audit.positive is None:
        raise UserError("impact ratios need a positive class; name it with `positive=`.")
    if audit.seeds is not None:
        raise UserError(
            "impact ratios need a single model instead of stacked seeds; audit the table of one seed."
        )
    result = next(m for m in audit.models if m.name == model)
    out = []
    for attribute in audit.attributes:
        parts = Attribute.from_text(attribute).names
        groups = [g for g in result.groups if tuple(g.values) == parts]
        selected = [(g.tp or 0.0) + (g.fp or 0.0) for g in groups]
        categories = _categories(
            [g.values for g in groups], selected, [g.n for g in groups], confidence or audit.confidence
        )
        out.append(ImpactRatios(model, attribute, categories))
    return out


def selected(audit: Audit) -> str:
    """Return the sentence that defines who counts as selected, with the reason if it is only a convention."""
    chosen = positive_note(PositiveClass(audit.positive, audit.positive_from), audit.classes)
    return chosen or f"Selected means predicted {audit.positive!r}."


def scoring_ratios(
    scores: ArrayLike, groups: Sequence[str], attribute: str, model: str = "scores", confidence: float = 0.95
) -> ImpactRatios:
    """Return impact ratios of scoring rates: the share of each category above the sample's median score."""
    s, g = np.asarray(scores, float), np.asarray(groups, dtype=str)
    if len(s) != len(g) or not len(s) or np.isnan(s).any():
        raise UserError("scores and groups must have the same length, without missing scores.")
    names, index = np.unique(g, return_inverse=True)
    above = np.bincount(index, weights=s > np.median(s))
    values = [{attribute: str(n)} for n in names]
    categories = _categories(values, above, np.bincount(index), confidence)
    return ImpactRatios(model, attribute, categories, float(np.median(s)))


def scoring_ratios_of(source: TableSource, model: str, options: AuditOptions) -> list[ImpactRatios]:
    """Return impact ratios of the scoring rates of the column ``M.score`` of a table, an entry per attribute.

    Empty where there is no such column. Needs two passes over the table: the median, then the rows above it.
    """
    column = f"{model}.score"
    if not source.holds_numbers(column) or source.holds_cells:
        return []
    median = source.read(f"SELECT median({source.as_number(column)}) AS m FROM {source.relation}").value()
    by = parse_attributes(options.by, source.columns)
    cells = count(
        source,
        label=options.label,
        models=[model],
        by=by,
        positive=options.positive,
        decide={model: f"{column}>{median!r}"},
        bins=options.bins,
        missing=options.missing,
        require_explicit_positive=False,
    )
    out = []
    for attribute in by:
        grouping = cells.grouping(attribute)
        above = cells.binary(cells.predicted[model])
        n, selected = (
            np.bincount(grouping.index, weights=w, minlength=grouping.size)
            for w in (cells.rows, cells.rows * above)
        )
        out.append(
            ImpactRatios(
                model,
                str(attribute),
                _categories(grouping.values, selected, n, options.confidence),
                float(median),
            )
        )
    return out


def _categories(
    values: Sequence[Values], selected: ArrayLike, n: ArrayLike, confidence: float
) -> tuple[Category, ...]:
    x, size = np.asarray(selected, float), np.asarray(n, float)
    excluded = size < MIN_SHARE * size.sum()
    rates = x / size
    included = np.flatnonzero(~excluded)
    reference = int(included[np.argmax(rates[included])]) if len(included) else -1
    smoothed = agresti_caffo(x, size)
    # The largest category is selected on the same data, so the intervals hold simultaneously for all pairs.
    c = pair_quantile(smoothed[included], 1 - confidence, False) if len(included) > 1 else np.nan
    low, high = ratio_limits(smoothed, smoothed[reference], c) if len(included) else (rates, rates)
    out = []
    for i in np.argsort(-rates, kind="stable").tolist():
        ratio = _ratio(i, reference, rates, (low[i], high[i]), size, bool(excluded[i]))
        estimable = ratio.value is not None
        out.append(
            Category(
                values[i],
                float(size[i]),
                float(x[i]),
                float(rates[i]),
                ratio,
                bool(excluded[i]),
                (ratio.value < FOUR_FIFTHS) if ratio.value is not None else None,
                (ratio.high < FOUR_FIFTHS) if estimable and ratio.high is not None else None,
            )
        )
    return tuple(out)


def _ratio(
    i: int, reference: int, rates: np.ndarray, limits: tuple[float, float], size: np.ndarray, excluded: bool
) -> Estimate:
    n = float(size[i])
    if excluded:
        return Estimate.not_estimable("less than 2 % of the data", n)
    if reference < 0 or rates[reference] <= 0:
        return Estimate.not_estimable("nobody was selected in any category", n)
    if i == reference:
        return Estimate(1.0, None, None, n, "reference")
    value = float(rates[i] / rates[reference])
    low, high = min(float(limits[0]), value), max(float(limits[1]), value)
    return Estimate(value, low, high, n, "log-clopper-pearson-mover")
