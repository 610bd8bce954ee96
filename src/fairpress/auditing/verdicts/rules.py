"""Verdicts: a non-inferiority test per group and metric at margin δ, and their summaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from fairpress.auditing.result import Verdict
from fairpress.auditing.statistics.score_bounds import loss_ruled_out
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.verdicts.multiplicity import holm

Key = TypeVar("Key", bound=tuple[str, ...])
"""Key of a hypothesis: (attribute, metric), or (model, attribute, metric)."""

JUDGED_BINARY: tuple[str, ...] = ("accuracy", "tpr", "fpr")
JUDGED_MULTICLASS: tuple[str, ...] = ("accuracy",)
WORST_FIRST: tuple[Verdict, ...] = ("harm", "void", "loss", "inconclusive", "not_estimable", "no_harm")


def floor_rows(margin: float = 0.02, confidence: float = 0.95) -> int:
    """Return the smallest n at which even zero flips give an upper bound below the margin.

    Bonett–Price at zero flips has centre 0 and se √2/(n+2): n + 2 > z√2/δ. 231 rows at δ = .01, 115 at .02. The score test
    (`score_bounds`) needs some more rows for "no harm"; until then such a group is inconclusive.
    """
    z = float(special.ndtri(confidence))
    n = int(np.floor(z * np.sqrt(2) / margin)) - 2
    while z * np.sqrt(2) / (n + 2) >= margin:
        n += 1
    return n


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of one metric over the groups of one attribute; every array has one entry per group.

    `p_loss`, `p_harm` test ℓ ≤ 0 and ℓ ≤ δ, adjusted over the family; `upper` is the unadjusted one-sided bound.
    NaN where there is no estimate.
    """

    verdict: NDArray[np.object_]
    upper: Floats
    p_loss: Floats
    p_loss_adjusted: Floats
    p_harm: Floats
    p_harm_adjusted: Floats


def judge(
    losses: Mapping[Key, TEstimate],
    margin: float = 0.02,
    confidence: float = 0.95,
    adjust: Callable[[ArrayLike], Floats] = holm,
    flip_shares: Mapping[Key, Floats] | None = None,
) -> dict[Key, Verdicts]:
    """Judge a family of losses, given by (attribute, metric), each over the attribute's groups.

    `adjust` (`multiplicity.CORRECTIONS`) is applied to all losses, once for ℓ ≤ 0 and once for ℓ ≤ δ; entries that cannot be
    estimated do not count in the family. `flip_shares` holds the share of rows that flipped, either way, for the score test
    of ``no_harm`` (`score_bounds`); by default the absolute loss, as if all flips were losses. Per entry, the first match
    counts:

    1. ``not_estimable``: no estimate
    2. ``harm``: adjusted p of ℓ ≤ δ is below α = 1 − confidence, one-sided
    3. in a group under the zero-flip floor: ``loss`` when the adjusted p of ℓ ≤ 0 is below α, else
       ``not_estimable``. A harm or loss that is demonstrated in so few rows is a valid finding
    4. ``no_harm``: the unadjusted upper bound is below δ, and the score test agrees
    5. ``loss``: adjusted p of ℓ ≤ 0 below α
    6. ``inconclusive``
    """
    keys = list(losses)
    sizes = [losses[k].value.size for k in keys]
    p_loss = [losses[k].p_above(0.0).ravel() for k in keys]
    p_harm = [losses[k].p_above(margin).ravel() for k in keys]
    splits = np.cumsum(sizes)[:-1]
    loss_adjusted = np.split(adjust(np.concatenate(p_loss)), splits) if keys else []
    harm_adjusted = np.split(adjust(np.concatenate(p_harm)), splits) if keys else []
    floor, alpha = floor_rows(margin, confidence), 1 - confidence
    out = {}
    for k, p0, p1, a0, a1 in zip(keys, p_loss, p_harm, loss_adjusted, harm_adjusted, strict=True):
        estimate = losses[k]
        upper = estimate.upper(confidence).ravel()
        flipped = np.abs(estimate.value) if flip_shares is None else flip_shares[k]
        clear = loss_ruled_out(estimate, flipped, margin, confidence).ravel()
        with np.errstate(invalid="ignore"):
            verdict = np.select(
                [
                    ~estimate.estimable.ravel(),
                    a1 < alpha,
                    (estimate.effective_n.ravel() < floor) & (a0 < alpha),
                    estimate.effective_n.ravel() < floor,
                    clear,
                    a0 < alpha,
                ],
                ["not_estimable", "harm", "loss", "not_estimable", "no_harm", "loss"],
                "inconclusive",
            ).astype(object)
        out[k] = Verdicts(verdict, upper, p0, a0, p1, a1)
    return out


def group_verdicts(judged: Sequence[NDArray[np.object_]]) -> NDArray[np.object_]:
    """Return each group's verdict: the worst over its metrics, in the order of `WORST_FIRST`.

    `judged` holds one array of verdicts over the groups per metric.
    """
    rank = {v: i for i, v in enumerate(WORST_FIRST)}
    codes = np.array([[rank[v] for v in metric] for metric in judged])
    names: NDArray[np.object_] = np.array(WORST_FIRST, dtype=object)[codes.min(axis=0)]
    return names


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
