"""The rows of every table of groups: which error decides a verdict, its estimate and bound, and pools of small groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fairpress.auditing.result import (
    AttributeComparison,
    Comparison,
    GroupComparison,
    Loss,
    Pool,
    Values,
    Verdict,
)
from fairpress.auditing.verdicts.rules import decides
from fairpress.auditing.verdicts.wording import deciding_loss, group_name, not_assessed, per_thousand

SEVERITY: tuple[Verdict, ...] = ("harm", "void", "loss", "inconclusive", "no_harm", "not_estimable")
"""From worst to best; groups without a verdict come last."""
SHORT_ERROR = {"accuracy": "error", "tpr": "FNR", "fpr": "FPR"}


@dataclass(frozen=True)
class GroupRow:
    """A group, or the small groups of an attribute that are judged together, with the loss that decides its verdict.

    Attributes
    ----------
    name, short
        Its name, ``sex = Female and race = Black``, and a name for narrow tables, ``Female · Black``.
    n
        People; of a pool, those of all members.
    loss
        The loss behind the verdict.
    lose, gain
        Of 1,000 people, those who lose and gain a correct answer.
    verdict
        The verdict of the group or pool.
    losses
        The loss in every metric; of a pool, in its own.
    members
        The groups of a pool; empty for a group.
    pooled
        Whether the group is judged only as a member of a pool.
    """

    name: str
    short: str
    n: float
    loss: Loss
    lose: float
    gain: float
    verdict: Verdict
    losses: tuple[Loss, ...]
    members: tuple[Values, ...] = ()
    pooled: bool = False

    @property
    def title(self) -> str:
        """The name in sentences: of a pool without its members."""
        return self.short if self.members else self.name

    @property
    def opening(self) -> str:
        """The name at the start of a sentence: ``Everybody``; names of groups stay as they are in the table."""
        return self.title.capitalize() if self.title == group_name({}) else self.title

    @property
    def error(self) -> str:
        """The error whose rise decides."""
        return self.loss.measure.name

    @property
    def unit(self) -> str:
        """The unit after a number, after a blank; empty for a pure number."""
        return self.loss.measure.brief_suffix

    @property
    def up(self) -> str:
        """The direction of a loss: ``up``, or ``down`` where higher is better."""
        return self.loss.measure.up

    def in_metric(self, metric: str) -> Loss | None:
        """Return the loss in a metric; None if a pool is not judged in it."""
        return next((x for x in self.losses if x.metric == metric), None)


def everybody(comparison: Comparison) -> GroupRow:
    """Return the row over all people."""
    return _row(comparison.overall, group_name({}), pooled=False)


def group_rows(comparison: Comparison, max_rows: int | None = None) -> list[GroupRow]:
    """Return the rows of all groups and pools of a comparison, worst first; groups without a verdict come last."""
    return list(_rows_of(_Same(comparison))[:max_rows])


class _Same:
    """A comparison as a key of a cache; it is equal to itself alone, as its dictionaries have no hash."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __hash__(self) -> int:
        return id(self.comparison)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.comparison is self.comparison


@lru_cache(maxsize=1)
def _rows_of(key: _Same) -> tuple[GroupRow, ...]:
    """Return the rows of a comparison; a report asks for those of each comparison several times in turn."""
    comparison = key.comparison
    names = _short_names(comparison.attributes)
    metric = comparison.overall.losses[0].metric
    rows = []
    for attribute in comparison.attributes:
        pools = [p for p in attribute.pools if decides(p, metric)]
        pooled = [dict(m) for p in pools if p.loss.metric == metric for m in p.members]
        for group in attribute.groups:
            alone = group.verdict == "not_estimable" and dict(group.values) in pooled
            rows.append(_row(group, names[_key(group.values)], pooled=alone))
        rows += [_pool_row(p, attribute) for p in pools]
    return tuple(worst_first(rows, metric))


def worst_first(rows: Iterable[GroupRow], metric: str) -> list[GroupRow]:
    """Return rows by verdict, those that the deciding metric gave first; shown losses by estimate, others by their bound."""

    def rank(row: GroupRow) -> tuple[int, bool, float]:
        shown = row.verdict in ("harm", "loss")
        size = row.loss.estimate.value if shown else row.loss.upper
        return SEVERITY.index(row.verdict), row.loss.metric != metric, -(size or 0.0)

    return sorted(rows, key=rank)


def worst_row(comparison: Comparison) -> GroupRow:
    """Return the row that the verdict of a comparison is about; a group is more informative than all people together."""
    rows = [r for r in group_rows(comparison) if r.verdict == comparison.verdict]
    return rows[0] if rows else everybody(comparison)


def largest_row(comparison: Comparison) -> GroupRow | None:
    """Return the row of the largest estimated loss in the deciding metric (`LossBounds.largest_group`), if there is one."""
    if not comparison.bounds or comparison.bounds[0].largest_group is None:
        return None
    group = comparison.bounds[0].largest_group
    for attribute in comparison.attributes:
        if isinstance(group, Pool):
            if group in attribute.pools:
                return _pool_row(group, attribute)
            continue
        for g in attribute.groups:
            if dict(g.values) == dict(group):
                return _row(g, short_name(comparison, group), pooled=False)
    return None


def short_name(comparison: Comparison, group: Values | Pool | None) -> str:
    """Return the name of a group or pool for narrow cells: ``Female · Black``, ``race: 3 small groups together``."""
    if isinstance(group, Pool):
        return f"{group.attribute}: {len(group.members)} small groups together"
    if not group:
        return group_name({})
    return _short_names(comparison.attributes).get(_key(group), group_name(group))


def unassessed(comparison: Comparison) -> list[GroupComparison]:
    """Return the groups that were not assessed in the deciding metric: neither alone nor in a pool."""
    groups = [g for a in comparison.attributes for g in a.groups]
    pools = [p for a in comparison.attributes for p in a.pools]
    return not_assessed(groups, comparison.overall.losses[0].metric, pools)


def pooled_attributes(comparison: Comparison) -> list[str]:
    """Return the attributes all of whose groups are judged only together, so that the pool is an average over everybody."""
    return [
        a.attribute
        for p in pools_of(comparison)
        for a in comparison.attributes
        if a.attribute == p.attribute and len(a.groups) == len(p.members)
    ]


def pools_of(comparison: Comparison) -> list[Pool]:
    """Return the pools in the deciding metric."""
    metric = comparison.overall.losses[0].metric
    return [p for a in comparison.attributes for p in a.pools if p.loss.metric == metric]


def _row(group: GroupComparison, short: str, *, pooled: bool) -> GroupRow:
    lose, gain = _per_thousand([group])
    loss = deciding_loss(group)
    name = group_name(group.values)
    return GroupRow(name, short, group.n, loss, lose, gain, group.verdict, group.losses, (), pooled)


def _pool_row(pool: Pool, attribute: AttributeComparison) -> GroupRow:
    members = [g for g in attribute.groups if dict(g.values) in [dict(m) for m in pool.members]]
    lose, gain = _per_thousand(members)
    together = f"{len(pool.members)} small groups together"
    names = ", ".join(" · ".join(m.values()) for m in pool.members)
    return GroupRow(
        f"{pool.attribute}: {together} ({names})",
        f"{pool.attribute}: {together}",
        sum(g.n for g in members),
        pool.loss,
        lose,
        gain,
        pool.loss.verdict,
        (pool.loss,),
        pool.members,
    )


def _per_thousand(groups: Sequence[GroupComparison]) -> tuple[float, float]:
    """Return how many of 1,000 people lose and gain a correct answer, over some groups of one attribute."""
    n = sum(g.flips.n for g in groups)
    lost, gained = (
        sum(getattr(g.flips, kind) for g in groups) for kind in ("right_to_wrong", "wrong_to_right")
    )
    return (per_thousand(lost, n), per_thousand(gained, n)) if n else (0.0, 0.0)


def _short_names(attributes: Sequence[AttributeComparison]) -> dict[tuple[tuple[str, str], ...], str]:
    """Return a short name for each group: its values alone, if they are distinct and self-explanatory."""
    names = {}
    owners: dict[str, set[str]] = {}
    for a in attributes:
        for g in a.groups:
            for key, value in g.values.items():
                owners.setdefault(value, set()).add(key)
    for a in attributes:
        for g in a.groups:
            names[_key(g.values)] = " · ".join(
                value if len(owners[value]) == 1 and _self_explanatory(value) else f"{key} = {value}"
                for key, value in g.values.items()
            )
    return names


def _self_explanatory(value: str) -> bool:
    """Return whether a value names a group without its attribute, unlike 0, 1, yes and no."""
    return not value.replace(".", "").isdecimal() and value.lower() not in ("yes", "no", "true", "false", "")


def _key(values: Values) -> tuple[tuple[str, str], ...]:
    return tuple(values.items())
