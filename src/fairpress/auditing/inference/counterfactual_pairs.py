"""Counterfactual pairs: rows of one template with different identities that are predicted differently, before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fairpress.auditing.cells.encoding import MISSING
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.flip_results import CounterfactualPairs, PairDisagreement
from fairpress.auditing.inference.template_counts import TemplateCounts
from fairpress.auditing.inference.to_estimates import to_estimates
from fairpress.auditing.statistics.pair_counts import PairCounts, count_pairs
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.core.attribute import Attribute
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate

NO_PAIRS = "no template has rows of this identity and of another one"
ONE_TEMPLATE = "one template: there is no interval over templates"


def counterfactual_pairs(
    counts: TemplateCounts,
    baseline: str,
    names: Sequence[str],
    attributes: Sequence[Attribute],
    confidence: float = 0.95,
    correction: str = "holm",
    family: str = "artifact",
) -> dict[str, tuple[CounterfactualPairs, ...]]:
    """Return the counterfactual pairs of each compressed model, an entry per attribute.

    p-values are two-sided, and corrected over all pairs and the identities of all attributes of a model; with
    ``family="study"`` of all models.

    Raises
    ------
    UserError
        No template has rows of two identities.
    """
    counted = {(name, a): _counted(counts, baseline, name, a) for name in names for a in attributes}
    if not any(len(whole.pairs) for _, whole, _ in counted.values()):
        raise UserError(
            f"`counterfactual={counts.column!r}`: no value of this column has rows of two groups of "
            f"{' or '.join(map(str, attributes))}; name the column whose value two rows share if they differ in identity "
            "alone, such as the id of a template."
        )
    p = {key: _p_values(*entry) for key, entry in counted.items()}
    families = [list(p)] if family == "study" else [[k for k in p if k[0] == n] for n in names]
    adjusted: dict[tuple[str, Attribute], Floats] = {}
    for keys in families:
        parts = np.split(
            CORRECTIONS[correction](np.concatenate([p[k] for k in keys])),
            np.cumsum([len(p[k]) for k in keys])[:-1],
        )
        adjusted |= dict(zip(keys, parts, strict=True))
    return {
        name: tuple(
            _result(counts.column, a, counted[name, a], p[name, a], adjusted[name, a], confidence)
            for a in attributes
        )
        for name in names
    }


def notes_on_templates(counts: TemplateCounts, attributes: Sequence[Attribute]) -> Iterator[str]:
    """Yield what was left out of the counterfactual pairs, and what makes them doubtful."""
    if counts.without:
        yield (f"{counts.without:,} rows have no {counts.column!r} and belong to no counterfactual pair.")
    for attribute in attributes:
        grouping, known = _identities(counts, attribute)
        unknown = counts.cells.rows[~known].sum()
        if unknown:
            yield f"{unknown:,.0f} rows without a value of {str(attribute)!r} belong to no counterfactual pair of it."
        template = counts.template[known]
        several = _several(template, grouping.index[known])
        paired = np.isin(template, several)
        mixed = np.intersect1d(several, _several(template[paired], counts.cells.label[known][paired]))
        if len(mixed):
            yield (
                f"In {len(mixed):,} of the {len(several):,} templates ({counts.column!r}) with several groups of "
                f"{str(attribute)!r}, the label differs between rows, so that they do not differ in identity alone: a pair "
                "that disagrees there can be right."
            )


def _several(template: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the templates with more than one code."""
    distinct = np.unique(np.stack([template, codes]), axis=1)
    templates, count = np.unique(distinct[0], return_counts=True)
    return templates[count > 1]


def _identities(counts: TemplateCounts, attribute: Attribute) -> tuple[Grouping, np.ndarray]:
    """Return the grouping by identity, and the combinations whose identity is known."""
    grouping = counts.cells.grouping(attribute)
    known = np.array([MISSING not in v.values() for v in grouping.values], dtype=bool)
    return grouping, known[grouping.index]


def _counted(
    counts: TemplateCounts, baseline: str, name: str, attribute: Attribute
) -> tuple[Grouping, PairCounts, PairCounts]:
    grouping, known = _identities(counts, attribute)
    cells = counts.cells
    whole, by_identity = count_pairs(
        counts.template[known],
        grouping.index[known],
        cells.predicted[baseline][known],
        cells.predicted[name][known],
        cells.rows[known],
    )
    return grouping, whole, by_identity


def _p_values(grouping: Grouping, whole: PairCounts, by_identity: PairCounts) -> Floats:
    """Return the p-values of no change, of all pairs and of each identity; NaN with fewer than two templates.

    Of two identities, which share all pairs, none is tested apart.
    """
    out = [whole.change(1).p_two_sided(), by_identity.change(grouping.size).p_two_sided()]
    enough = [whole.templates(1) > 1, by_identity.templates(grouping.size) > 1]
    if (enough[1]).sum() <= 2:
        enough[1] = np.zeros(grouping.size, bool)
    return np.where(np.concatenate(enough), np.concatenate(out), np.nan)


def _result(
    column: str,
    attribute: Attribute,
    counted: tuple[Grouping, PairCounts, PairCounts],
    p: Floats,
    p_adjusted: Floats,
    confidence: float,
) -> CounterfactualPairs:
    grouping, whole, by_identity = counted
    all_pairs = next(_disagreements(whole, [{}], p[:1], p_adjusted[:1], confidence))
    identities = _disagreements(by_identity, grouping.values, p[1:], p_adjusted[1:], confidence)
    return CounterfactualPairs(
        str(attribute), column, all_pairs, tuple(x for x in identities if MISSING not in x.values.values())
    )


def _disagreements(
    counts: PairCounts, values: Sequence[object], p: Floats, p_adjusted: Floats, confidence: float
) -> Iterator[PairDisagreement]:
    size = len(values)
    before, after = counts.shares(size)
    templates = counts.templates(size)
    columns = [_estimates(x, confidence, templates) for x in (before, after)]
    changes = _estimates(counts.change(size), confidence, templates, p, p_adjusted)
    for i, group in enumerate(values):
        yield PairDisagreement(
            dict(group),  # type: ignore[call-overload]
            changes[i].n,
            int(templates[i]),
            columns[0][i],
            columns[1][i],
            changes[i],
        )


def _estimates(
    x: TEstimate,
    confidence: float,
    templates: Floats,
    p: Floats | None = None,
    p_adjusted: Floats | None = None,
) -> list[Estimate]:
    """Return estimates; of pairs of a single template without an interval."""
    estimates = to_estimates(x, confidence, NO_PAIRS, p, p_adjusted)
    return [
        Estimate(e.value, n=e.n, method="one template") if e.value is not None and count < 2 else e
        for e, count in zip(estimates, templates, strict=True)
    ]
