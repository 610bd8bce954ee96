"""Whether a level is near its ideal: distances from 0 that are shown to be within a limit, or beyond it (``within=5pp``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes.bounded_evidence import BoundedEvidence
from fairpress.auditing.outcomes.preference import margin_in_points
from fairpress.auditing.statistics.folded_change import FoldedLevel
from fairpress.auditing.verdicts.multiplicity import holm
from fairpress.auditing.verdicts.wording import group_name, name_groups
from fairpress.core.attribute import OVERALL, Attribute
from fairpress.core.errors import UserError

WITHIN = "within"


def limit_of(request: OutcomeRequest) -> float | None:
    """Return the limit of the request as a share; None without one. Raises UserError for anything but points below 50."""
    text = request.settings.get(WITHIN)
    if text is None:
        return None
    margin = margin_in_points(text)
    limit = float("nan") if margin is None else margin.value
    if not 0 < limit < 0.5:
        raise UserError(
            f"`outcome={str(request)!r}`: within is a distance in points between 0 and 50, such as within=5pp, not {text!r}."
        )
    return limit


def equivalence_notes(
    evidence: BoundedEvidence,
    models: Sequence[str],
    metric: str,
    attributes: Sequence[Attribute],
    limit: float,
    confidence: float,
) -> Iterator[str]:
    """Yield, for each model, the groups whose distance is shown to be within the limit, and beyond it.

    Within: both one-sided tests reject at 1 − confidence (equivalence; a statement on each group). Beyond: the distance is
    shown to be above the limit, corrected over all groups of the model (Holm).
    """
    measure = evidence.measures[metric]
    for model in models:
        names: list[str] = []
        within, above = [], []
        for attribute in (OVERALL, *attributes):
            grouping = evidence.table.cells.grouping(attribute)
            level = evidence.level(model, metric, grouping)
            assert isinstance(level, FoldedLevel)
            names += [group_name(v) for v in grouping.values]
            within.append(level.p_within(limit))
            above.append(level.p_above(limit))
        alpha = 1 - confidence
        with np.errstate(invalid="ignore"):
            inside = np.concatenate(within) < alpha
            outside = holm(np.concatenate(above)) < alpha
        groups = [[n for n, hit in zip(names, where, strict=True) if hit] for where in (inside, outside)]
        shown = [name_groups(g) if g else "none" for g in groups]
        rest = int((~inside & ~outside).sum())
        yield (
            f"{model}: the {measure.name} is shown to be within {measure.exact(limit)} in {shown[0]}; beyond it in "
            f"{shown[1]}" + (f"; open in {rest:,}." if rest else ".")
        )
