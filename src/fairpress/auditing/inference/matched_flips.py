"""Does a group flip more because its answers were closer to call? Flips by group, matched by the baseline's closeness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.flip_results import MatchedFlips, MatchedGroup
from fairpress.auditing.inference.closeness import STRATA, ClosenessCounts
from fairpress.auditing.inference.group_estimator import per_group
from fairpress.auditing.inference.to_estimates import to_estimates
from fairpress.auditing.statistics.stratified_difference import StratifiedCounts
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.core.attribute import Attribute
from fairpress.core.estimate import Estimate

ALONE = "no rows of this group, or none of the others, are as close to call"
ONE_GROUP = "there is only one group"


@dataclass(frozen=True)
class _Variances:
    """Variances [groups] over rows or people of the differences as they are, at equal closeness, and of what is explained.

    `deff`, `raw_deff`: how much larger the first two are than of rows that count once. `df`: people of the smaller side − 1.
    """

    explained: Floats
    deff: Floats
    raw_deff: Floats
    df: Floats


def match_flips(
    counts: ClosenessCounts,
    baseline: str,
    names: Sequence[str],
    attributes: Sequence[Attribute],
    confidence: float = 0.95,
    correction: str = "holm",
    family: str = "artifact",
) -> dict[str, tuple[MatchedFlips, ...]]:
    """Return the matched flips of each compressed model, an entry per attribute.

    p-values are two-sided and corrected over the groups of all attributes of a model, with ``family="study"`` of all models.
    Of two groups, whose differences are each other's, one is tested.
    """
    matched = {
        (name, attribute): _match(
            counts, counts.cells.predicted[baseline] != counts.cells.predicted[name], attribute
        )
        for name in names
        for attribute in attributes
    }
    families = [list(matched)] if family == "study" else [[k for k in matched if k[0] == n] for n in names]
    adjusted: dict[tuple[str, Attribute], Floats] = {}
    for keys in families:
        tested = [matched[k].p[: 1 if len(matched[k].p) == 2 else None] for k in keys]
        parts = np.split(
            CORRECTIONS[correction](np.concatenate(tested)), np.cumsum([len(t) for t in tested])[:-1]
        )
        adjusted |= {
            k: np.resize(part, len(matched[k].p)) if len(matched[k].p) == 2 else part
            for k, part in zip(keys, parts, strict=True)
        }
    return {
        name: tuple(
            MatchedFlips(
                str(a),
                counts.columns,
                STRATA,
                tuple(matched[name, a].groups(adjusted[name, a], confidence)),
            )
            for a in attributes
        )
        for name in names
    }


@dataclass(frozen=True)
class _Matched:
    """Everything about one attribute: tables [strata, groups], their totals, and variances [groups]."""

    grouping: Grouping
    rows: Floats
    flips: Floats
    variances: _Variances

    @property
    def stratified(self) -> StratifiedCounts:
        return StratifiedCounts.of(self.flips, self.rows, self.variances.deff, self.variances.df)

    @property
    def p(self) -> Floats:
        """Two-sided p-values [groups] of no difference at equal closeness."""
        return self.stratified.p_two_sided()

    def groups(self, p_adjusted: Floats, confidence: float) -> Iterator[MatchedGroup]:
        """Yield each group."""
        v, p = self.variances, self.p
        rows, flips = self.rows.sum(axis=0), self.flips.sum(axis=0)
        matched = self.stratified
        raw = StratifiedCounts.of(flips[None], rows[None], v.raw_deff, v.df)
        differences = [_difference(x, confidence) for x in (raw, matched)]
        (first, second), (a, b) = raw.rates(), matched.rates()
        explained = to_estimates(
            TEstimate(
                (first - second) - (a - b),
                (first - second) - (a - b),
                np.sqrt(v.explained),
                matched.total(matched.n1),
                matched.total(matched.n1),
                v.df,
                (-2.0, 2.0),
                "linearised",
            ),
            confidence,
            ALONE,
        )
        for g, values in enumerate(self.grouping.values):
            known = differences[1][g].estimable
            yield MatchedGroup(
                values,
                float(rows[g]),
                float(flips[g]),
                float(rows.sum() - rows[g]),
                float(flips.sum() - flips[g]),
                differences[0][g],
                float(a[g]) if known else None,
                float(b[g]) if known else None,
                _with_p(differences[1][g], float(p[g]), float(p_adjusted[g])),
                explained[g],
            )


def _difference(counts: StratifiedCounts, confidence: float) -> list[Estimate]:
    """Return the weighted difference of each group with its interval; its n are the rows that are compared."""
    first, second = counts.rates()
    low, high = counts.interval(confidence)
    n = counts.total(counts.n1)
    return [
        Estimate(float(value), float(a), float(b), float(rows), "mantel-haenszel")
        if np.isfinite(value)
        else Estimate.not_estimable(ALONE if counts.groups > 1 else ONE_GROUP)
        for value, a, b, rows in zip(first - second, low, high, n, strict=True)
    ]


def _with_p(estimate: Estimate, p: float, p_adjusted: float) -> Estimate:
    if estimate.value is None:
        return estimate
    return Estimate(estimate.value, estimate.low, estimate.high, estimate.n, estimate.method, p, p_adjusted)


def _match(counts: ClosenessCounts, flipped: np.ndarray, attribute: Attribute) -> _Matched:
    cells, grouping = counts.cells, counts.cells.grouping(attribute)
    tables = _tables(
        counts, grouping, {"w": cells.weight, "ww": cells.weight_squares, "n": cells.rows}, flipped
    )
    rows, flips = tables["w"].sum(axis=0), tables["w"][1]
    variances = (
        _over_people(counts, grouping, flipped, rows, flips)
        if "subject" in cells.keys
        else _over_rows(tables)
    )
    return _Matched(grouping, rows, flips, variances)


def _tables(
    counts: ClosenessCounts, grouping: Grouping, sums: Mapping[str, Floats], flipped: np.ndarray
) -> dict[str, Floats]:
    """Return sums over combinations as tables [2 (kept, flipped), strata, groups]."""
    shape = (2, int(counts.stratum.max()) + 1, grouping.size)
    at = np.ravel_multi_index((flipped.astype(np.int64), counts.stratum, grouping.index), shape)
    return {
        name: np.bincount(at, weights=values, minlength=int(np.prod(shape))).reshape(shape).astype(float)
        for name, values in sums.items()
    }


def _residuals(rows: Floats, flips: Floats) -> Floats:
    """Return how a row moves the weighted difference [side (rest, group), flipped, strata, groups].

    The difference is the coefficient of "belongs to the group" in a regression of the flips with an intercept for each
    stratum; a row moves it by (s − s̄)(y − ȳ − d(s − s̄)) over Σ(s − s̄)².
    """
    whole, changed = rows.sum(axis=1, keepdims=True), flips.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(whole > 0, rows / whole, 0.0)
        mean = np.where(whole > 0, changed / whole, 0.0)
        weight = (share * (1 - share) * whole).sum(axis=0)
        difference = (flips - share * changed).sum(axis=0) / weight
        out = [
            [(s - share) * (y - mean - difference * (s - share)) / weight for y in (0.0, 1.0)]
            for s in (0.0, 1.0)
        ]
    return np.nan_to_num(np.array(out))


def _over_rows(tables: Mapping[str, Floats]) -> _Variances:
    """Return the variances over rows that are independent, with or without weights."""
    rows, flips = tables["w"].sum(axis=0), tables["w"][1]
    matched = _residuals(rows, flips)
    raw = np.broadcast_to(
        _residuals(rows.sum(axis=0, keepdims=True), flips.sum(axis=0, keepdims=True)), matched.shape
    )

    def variance(moves: Floats, kind: str) -> Floats:
        group = tables[kind]
        rest = group.sum(axis=2, keepdims=True) - group
        return np.asarray((moves[1] ** 2 * group + moves[0] ** 2 * rest).sum(axis=(0, 1)))

    explained = variance(raw - matched, "ww")
    # Weighted rows are worth less; a row that counts once is worth one.
    deff, raw_deff = (_effect(variance(x, "ww"), variance(x, "w"), tables) for x in (matched, raw))
    return _Variances(explained, deff, raw_deff, np.full(rows.shape[1], np.inf))


def _effect(actual: Floats, simple: Floats, tables: Mapping[str, Floats]) -> Floats:
    """Return the design effect of weights: Kish's Σw²/Σw of the group where nothing flips."""
    kish = tables["ww"].sum(axis=(0, 1)) / np.maximum(tables["w"].sum(axis=(0, 1)), 1e-300)
    return np.where(simple > 0, actual / np.where(simple > 0, simple, 1.0), kish)


def _over_people(
    counts: ClosenessCounts, grouping: Grouping, flipped: np.ndarray, rows: Floats, flips: Floats
) -> _Variances:
    """Return the variances over people, whose rows may be in several strata and groups."""
    cells = counts.cells
    matched = _residuals(rows, flips)
    raw = _residuals(rows.sum(axis=0, keepdims=True), flips.sum(axis=0, keepdims=True))
    people, y = cells.keys["subject"], flipped.astype(np.int64)
    everybody = per_group(np.ones(len(people)), people, int(people.max()) + 1)
    factor = (everybody > 0).sum() / max((everybody > 0).sum() - 1, 1)
    explained, deff, raw_deff, df = (np.ones(grouping.size) for _ in range(4))
    for g in range(grouping.size):
        side = (grouping.index == g).astype(np.int64)
        moves = (matched[side, y, counts.stratum, g], raw[side, y, 0, g])
        inside = per_group(side, people, len(everybody))
        df[g] = max(min((inside > 0).sum(), (everybody > inside).sum()) - 1, 1)
        sums = [per_group(cells.weight * m, people, len(everybody)) for m in moves]
        explained[g] = factor * ((sums[1] - sums[0]) ** 2).sum()
        size = per_group(cells.weight * side, people, len(everybody))
        total = max(size.sum(), 1e-300)
        typical = (size**2).sum() / total
        # As in `design_effect`, two people who flip in all their rows; a row of the group moves a difference by about 1/n.
        for effect, move, moved in zip((deff, raw_deff), moves, sums, strict=True):
            between = factor * (moved**2).sum() + 2 * (typical / total) ** 2
            simple = (cells.weight * move**2).sum() + 2 * typical / total**2
            effect[g] = max(between / simple, 1.0) if simple > 0 else 1.0
    return _Variances(explained, deff, raw_deff, df)
