"""Verdicts: a non-inferiority test per group and metric at margin δ, and their summaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairpress.auditing.result import Pool, Verdict
from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.harm import harm_p_value
from fairpress.auditing.statistics.score_bounds import loss_limits
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.verdicts.multiplicity import holm, reachable

Key = TypeVar("Key", bound=tuple[object, ...])
"""Key of a hypothesis: (attribute, metric), or (model, attribute, metric)."""

JUDGED_BINARY: tuple[str, ...] = ("accuracy", "tpr", "fpr")
JUDGED_MULTICLASS: tuple[str, ...] = ("accuracy",)
WORST_FIRST: tuple[Verdict, ...] = ("harm", "void", "loss", "inconclusive", "not_estimable", "no_harm")


def floor_rows(margin: float = 0.02, confidence: float = 0.95) -> int:
    """Return the smallest n at which even zero flips give an upper bound below the margin.

    Bonett–Price at zero flips has centre 0 and se √2/(n+2): n + 2 > z√2/δ. 231 rows at δ = .01, 115 at .02.
    """
    z = float(special.ndtri(confidence))
    n = int(np.floor(z * np.sqrt(2) / margin)) - 2
    while z * np.sqrt(2) / (n + 2) >= margin:
        n += 1
    return n


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of one metric over the groups of one attribute; every array has one entry per group.

    `p_loss`, `p_harm` test ℓ ≤ 0 and ℓ ≤ δ, adjusted over the family; `upper` is the unadjusted one-sided bound of which
    ``no_harm`` says that it is below δ. NaN where there is no estimate.
    """

    verdict: NDArray[np.object_]
    upper: Floats
    p_loss: Floats
    p_loss_adjusted: Floats
    p_harm: Floats
    p_harm_adjusted: Floats


@dataclass(frozen=True)
class Tested:
    """Losses with what judges them; every array has one entry per group.

    Attributes
    ----------
    loss, flip_share
        The losses, positive is worse; the share of the denominator that flipped, either way.
    margin
        The margin, absolute.
    assessed
        Where the group has enough rows, decided by rows alone.
    p_loss, p_harm
        One-sided p-values of ℓ ≤ 0 and of ℓ ≤ δ, unadjusted.
    upper
        One-sided upper bound of the loss.
    cleared
        Where a loss of δ is ruled out.
    low, high
        Two-sided interval of the loss.
    """

    loss: TEstimate
    flip_share: Floats
    margin: Floats
    assessed: NDArray[np.bool_]
    p_loss: Floats
    p_harm: Floats
    upper: Floats
    cleared: NDArray[np.bool_]
    low: Floats
    high: Floats

    def __getitem__(self, index: slice) -> Tested:
        return Tested(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def run_tests(
    loss: TEstimate,
    flip_share: Floats,
    margin: Floats | float,
    confidence: float = 0.95,
    assessed: NDArray[np.bool_] | None = None,
) -> Tested:
    """Return what judges losses at an absolute margin.

    Without `assessed`, groups are assessed from the zero-flip floor of a single margin on (`floor_rows`).
    """
    if assessed is None:
        assessed = loss.effective_n >= floor_rows(float(np.max(margin)), confidence)
    margins = np.broadcast_to(np.asarray(margin, float), loss.value.shape)
    upper, low, high = loss_limits(loss, flip_share, confidence)
    with np.errstate(invalid="ignore"):
        cleared = loss.estimable & (upper < margins)
    p_loss, p_harm = loss.p_above(0.0), harm_p_value(loss, flip_share, margins)
    return Tested(loss, flip_share, margins, assessed, p_loss, p_harm, upper, cleared, low, high)


def by_key(keys: Sequence[Key], sizes: Sequence[int], joined: Tested) -> dict[Key, Tested]:
    """Return losses that were tested together, by key again; `sizes` are the numbers of groups."""
    ends = np.cumsum(sizes)
    return {k: joined[end - size : end] for k, size, end in zip(keys, sizes, ends.tolist(), strict=True)}


def judge(
    family: Mapping[Key, Tested],
    confidence: float = 0.95,
    adjust: Callable[[ArrayLike], Floats] = holm,
    p_loss_adjusted: Mapping[Key, Floats] | None = None,
    smallest_p: Callable[[Sequence[Tested]], Floats] | None = None,
) -> dict[Key, Verdicts]:
    """Judge a family of losses, given by (attribute, metric), each over the attribute's groups.

    `adjust` (`multiplicity.CORRECTIONS`) is applied to all losses, once for ℓ ≤ 0 (unless `p_loss_adjusted` is given, as by
    `westfall_young`) and once for ℓ ≤ δ; entries that cannot be estimated do not count in the family, nor, for ℓ ≤ δ,
    groups of so few rows that no outcome could be significant (`smallest_p`, by default that of flips). Per entry, the first
    match counts:

    1. ``not_estimable``: no estimate
    2. ``harm``: adjusted p of ℓ ≤ δ is below α = 1 − confidence, one-sided
    3. in a group that is not assessed: ``loss`` when the adjusted p of ℓ ≤ 0 is below α, else ``not_estimable``. A harm or
       loss that is demonstrated in so few rows is a valid finding
    4. ``no_harm``: a loss of δ is ruled out
    5. ``loss``: adjusted p of ℓ ≤ 0 below α
    6. ``inconclusive``
    """
    keys = list(family)
    splits = np.cumsum([family[k].loss.value.size for k in keys])[:-1]

    def adjusted(p: list[Floats]) -> list[Floats]:
        return np.split(adjust(np.concatenate(p)), splits) if keys else []

    loss_adjusted = (
        adjusted([family[k].p_loss for k in keys])
        if p_loss_adjusted is None
        else [p_loss_adjusted[k] for k in keys]
    )
    alpha = 1 - confidence
    within_reach = (
        np.split(reachable((smallest_p or _smallest_p_harm)([family[k] for k in keys]), alpha), splits)
        if keys
        else []
    )
    harm_tests = [np.where(r, family[k].p_harm, np.nan) for k, r in zip(keys, within_reach, strict=True)]
    harm_adjusted = [np.where(r, p, 1.0) for r, p in zip(within_reach, adjusted(harm_tests), strict=True)]
    out = {}
    for k, p_loss, p_harm in zip(keys, loss_adjusted, harm_adjusted, strict=True):
        x = family[k]
        with np.errstate(invalid="ignore"):
            verdict = np.select(
                [
                    ~x.loss.estimable,
                    p_harm < alpha,
                    ~x.assessed & (p_loss < alpha),
                    ~x.assessed,
                    x.cleared,
                    p_loss < alpha,
                ],
                ["not_estimable", "harm", "loss", "not_estimable", "no_harm", "loss"],
                "inconclusive",
            ).astype(object)
        out[k] = Verdicts(verdict, x.upper, x.p_loss, p_loss, x.p_harm, p_harm)
    return out


def _smallest_p_harm(family: Sequence[Tested]) -> Floats:
    """Return a bound of the smallest p-value of ℓ ≤ δ that so many rows allow: all of them lost, when as many gain as can.

    ((1 + δ)/2)ⁿ, known before any prediction is looked at; NaN where there is no estimate.
    """
    n = np.concatenate([np.where(x.loss.estimable, x.loss.effective_n, np.nan) for x in family])
    margin = np.clip(np.concatenate([x.margin for x in family]), 0, 1)
    return np.asarray(((1 + margin) / 2) ** n)


def group_verdicts(
    judged: Sequence[NDArray[np.object_]], losses: Sequence[Floats], margins: Sequence[Floats]
) -> NDArray[np.object_]:
    """Return each group's verdict from its verdicts in every metric, of which the first decides.

    The others can only make it worse: harm in any of them is harm, and a loss that is shown in one of them and whose
    estimate is above its margin is a loss. Compression that trades one kind of error for another leaves the error rate as
    it is, and must not be called harmless.

    Parameters
    ----------
    judged, losses
        Verdicts and estimated losses [groups], one array per metric.
    margins
        The absolute margin of each group [groups], one array per metric.
    """
    verdict = judged[0].copy()
    for other, loss, margin in zip(judged[1:], losses[1:], margins[1:], strict=True):
        with np.errstate(invalid="ignore"):
            lost = (other == "loss") & (loss > margin)
        verdict = np.where(lost & (verdict != "harm"), "loss", verdict)
        verdict = np.where(other == "harm", "harm", verdict)
    return verdict.astype(object)


def decides(pool: Pool, deciding_metric: str) -> bool:
    """Return whether a pool counts in the verdict: in the deciding metric, and elsewhere where it is harmed."""
    return pool.loss.metric == deciding_metric or pool.loss.verdict == "harm"


def overall_verdict(groups: ArrayLike) -> Verdict:
    """Return the verdict of an attribute: the worst over its estimable groups.

    Groups that are ``not_estimable`` are left out, and the caller names them; if no group is left, the verdict is
    ``not_estimable``, which never counts as fair.
    """
    present = set(np.asarray(groups, dtype=object).ravel().tolist())
    for verdict in WORST_FIRST:
        if verdict in present and verdict != "not_estimable":
            return verdict
    return "not_estimable"


def artifact_verdict(overall: Verdict, groups: ArrayLike) -> Verdict:
    """Return the verdict of an artifact: the worst over all rows together, as one more group, and the groups.

    If no group has enough rows, the overall verdict counts only if it is a harm or loss: "no harm" on average does not imply
    it for any group.
    """
    group_verdict = overall_verdict(groups)
    if group_verdict == "not_estimable" and overall not in ("harm", "loss"):
        return group_verdict
    return overall_verdict(np.append(np.asarray(groups, dtype=object).ravel(), overall))


def judge_excess(
    excess: Mapping[Key, TEstimate],
    confidence: float = 0.95,
    adjust: Callable[[ArrayLike], Floats] = holm,
) -> tuple[bool | None, dict[Key, Floats]]:
    """Return `disparate` and the adjusted p-values of E ≤ 0 by key, one family."""
    keys = list(excess)
    if not keys:
        return None, {}
    p = [excess[k].p_above(0.0).ravel() for k in keys]
    parts = np.split(adjust(np.concatenate(p)), np.cumsum([len(q) for q in p])[:-1])
    return disparate(parts, confidence), dict(zip(keys, parts, strict=True))


def disparate(adjusted: Sequence[Floats], confidence: float = 0.95) -> bool | None:
    """Return whether some adjusted p of E ≤ 0 is below 1 − confidence; None when nothing can be estimated."""
    p_values = np.concatenate([p[~np.isnan(p)] for p in adjusted]) if adjusted else np.array([])
    return bool((p_values < 1 - confidence).any()) if len(p_values) else None
