"""From cells to exact tests of losses: flips in disjoint strata, and the groups and metrics that they belong to.

A flip is a row whose outcome differs between the baseline and a compressed model. Its signed outcomes, +1 for a loss
and −1 for a gain in every model and metric, are dealt together: one coin turns all of them. A stratum holds the flips
of one combination of groups that count, up to this sign, in the same models and metrics. For one model and a binary
label, strata are thus groups × label. A row that flips under several models is a stratum of its pattern of models, so
that a study's models, which share rows and the baseline, are tested jointly without taking them for independent. Such
patterns are uneven even among models that are equally right, since what the baseline alone gets wrong is gained by all;
the covariances are right all the same, and so is the level (``benchmarks/coverage.py --only family-study``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.class_recall import is_class_metric
from fairpress.auditing.inference.group_estimator import per_group
from fairpress.auditing.metrics.rates import LOSS_SIGN, loss_sign
from fairpress.auditing.statistics.distinct_columns import distinct_columns
from fairpress.auditing.statistics.largest_loss import DRAWS as LARGEST_DRAWS
from fairpress.auditing.statistics.largest_loss import bonferroni_lower_bounds, dealt_lower_bounds
from fairpress.auditing.statistics.membership import Membership
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.westfall_young import DRAWS, mcnemar_loss, step_down_min_p
from fairpress.auditing.verdicts.multiplicity import holm
from fairpress.core.attribute import Attribute

MOST_DEALT = 200_000_000
"""Strata, or hypotheses, × draws that are dealt within some 10 s; beyond, Holm corrects the exact p-values."""

Key = tuple[str, Attribute, str]
"""Compressed model, attribute, metric."""
PoolKey = tuple[str, Attribute, str, str]
POOL = "pool"
"""The last part of the key of a pool of an attribute's groups."""


@dataclass(frozen=True)
class FlipStrata:
    """Flips of strata, and the hypotheses "no net loss" of each model, attribute, metric and group.

    Attributes
    ----------
    lost, gained
        Flips of each stratum [strata], in the direction of its first hypothesis.
    membership
        Of −1, 0 and 1 [hypotheses, strata], as in `dealt_flips.DealtFlips.of`.
    rows
        Denominator of each hypothesis [hypotheses].
    slices
        Hypotheses of each key, one per group.
    """

    lost: Floats
    gained: Floats
    membership: Membership
    rows: Floats
    slices: dict[Key | PoolKey, slice]

    def with_pools(self, pools: Mapping[Key, Sequence[int]]) -> FlipStrata:
        """Return the same flips with one more hypothesis for each pool, "its groups together lose nothing".

        `pools` maps a key to the indices of groups of its attribute; the hypothesis has the key ``(*key, POOL)``.
        """
        if not pools:
            return self
        slices, rows, members = dict(self.slices), [*self.rows], []
        for key, groups in pools.items():
            index = self.slices[key].start + np.asarray(groups)
            slices[(*key, POOL)] = slice(len(rows), len(rows) + 1)
            rows.append(float(self.rows[index].sum()))
            members.append(index)  # groups of one attribute share no stratum
        pooled = self.membership.with_unions(members)
        return replace(self, membership=pooled, rows=np.array(rows), slices=slices)

    def by_key(self, values: Floats) -> dict[Key | PoolKey, Floats]:
        """Return values [hypotheses] by key; NaN where a hypothesis has no rows."""
        defined = np.where(self.rows > 0, values, np.nan)
        return {key: defined[part] for key, part in self.slices.items()}

    def counts(self) -> tuple[Floats, Floats]:
        """Return the losses and gains of each hypothesis [hypotheses]."""
        total = self.membership.total(self.lost + self.gained)
        net = self.membership.net(self.lost - self.gained)
        return (total + net) / 2, (total - net) / 2

    def p_values(self) -> dict[Key | PoolKey, Floats]:
        """Return the unadjusted exact McNemar p-values of "the group loses nothing" [groups], and of pools."""
        return self.by_key(mcnemar_loss(*self.counts()))

    def p_adjusted(self, draws: int = DRAWS) -> dict[Key | PoolKey, Floats]:
        """Return the same p-values, adjusted over all models, attributes, metrics and pools.

        Westfall and Young's step-down min-p of exact McNemar tests (`westfall_young`). NaN where a group has no rows in the
        metric's denominator, 1 where nothing flips. The coins are seeded: the same flips give the same p-values.
        """
        if self.dealt_fast(draws):
            rng = np.random.default_rng(0)
            adjusted = step_down_min_p(self.lost, self.gained, self.membership, rng, draws)
        else:
            adjusted = holm(np.where(self.rows > 0, mcnemar_loss(*self.counts()), np.nan))
        return self.by_key(adjusted)

    def dealt_fast(self, draws: int) -> bool:
        """Return whether so many draws are dealt within some 10 s."""
        return max(len(self.rows), len(self.lost)) * draws <= MOST_DEALT


def flip_strata(
    cells: Cells, baseline: str, names: Sequence[str], attributes: Sequence[Attribute], metrics: Sequence[str]
) -> FlipStrata:
    """Return the strata of some compressed models' flips against the baseline.

    `attributes` may include `OVERALL`, all rows together; `metrics` among accuracy, TPR, FPR and recalls of classes.
    Weights, subjects and seeds are not looked at: each row is one flip.

    Raises ``ValueError`` for another metric.
    """
    unknown = sorted(m for m in set(metrics) - set(LOSS_SIGN) if not is_class_metric(m))
    if unknown:
        raise ValueError(f"exact tests of losses are of {', '.join(LOSS_SIGN)}, not of {', '.join(unknown)}")
    outcomes = [(name, metric) for name in names for metric in metrics]
    groups = [cells.grouping(attribute) for attribute in attributes]
    slices: dict[Key | PoolKey, slice] = {}
    rows: list[Floats] = []
    signed = np.zeros((len(outcomes), len(cells.label)), dtype=np.int8)
    for i, (name, metric) in enumerate(outcomes):
        difference = cells.indicator(name, metric) - cells.indicator(baseline, metric)
        inside = ~np.isnan(difference)
        signed[i] = loss_sign(metric) * np.nan_to_num(difference)
        for grouping in groups:
            start = sum(len(r) for r in rows)
            slices[name, grouping.attribute, metric] = slice(start, start + grouping.size)
            rows.append(per_group(cells.rows[inside], grouping.index[inside], grouping.size))
    flipped = signed.any(axis=0)
    signed = signed[:, flipped]
    direction = signed[(signed != 0).argmax(axis=0), np.arange(signed.shape[1])]
    pattern = np.concatenate([*(g.index[None, flipped] for g in groups), signed * direction])
    strata, stratum, _ = distinct_columns(pattern)
    count = strata.shape[1]
    weight = cells.rows[flipped]
    lost = per_group(weight * (direction > 0), stratum, count)
    gained = per_group(weight * (direction < 0), stratum, count)
    group, sign = strata[: len(attributes)], strata[len(attributes) :]
    hypothesis, column, entry = [], [], []
    for i, (name, metric) in enumerate(outcomes):
        member = np.flatnonzero(sign[i])
        for a, attribute in enumerate(attributes):
            hypothesis.append(slices[name, attribute, metric].start + group[a, member])
            column.append(member)
            entry.append(sign[i, member])
    size = sum(len(r) for r in rows)
    members = Membership.of_entries(_joined(hypothesis), _joined(column), _joined(entry), (size, count))
    return FlipStrata(lost, gained, members, np.concatenate(rows) if rows else np.zeros(0), slices)


def loss_lower_bounds(
    cells: Cells,
    baseline: str,
    names: Sequence[str],
    attributes: Sequence[Attribute],
    metric: str,
    confidence: float = 0.95,
    draws: int = LARGEST_DRAWS,
) -> dict[Key | PoolKey, Floats]:
    """Return lower bounds of the losses in a metric [groups] that hold at once over all models and attributes given.

    The largest of them is Y of "some group loses at least Y" (`largest_loss`). NaN where a group has no rows in the
    metric's denominator; negative where not even a loss of 0 is shown.
    """
    strata = flip_strata(cells, baseline, names, attributes, [metric])
    if strata.dealt_fast(draws):
        flips = (strata.lost, strata.gained, strata.membership, strata.rows)
        return strata.by_key(dealt_lower_bounds(*flips, np.random.default_rng(0), confidence, draws))
    losses = bonett_price(*strata.counts(), strata.rows)
    return strata.by_key(bonferroni_lower_bounds([losses], confidence)[0])


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
