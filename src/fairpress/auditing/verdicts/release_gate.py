"""The gate of a release: it passes what is shown to be acceptable, and nothing else. Inconclusive is not a pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairpress.auditing.measure import Measure
from fairpress.auditing.result import (
    Audit,
    Comparison,
    GroupComparison,
    Loss,
    LossBounds,
    Margin,
    PolicyRecord,
    Pool,
    Values,
)
from fairpress.auditing.verdicts.gates import require_comparison, required_groups
from fairpress.auditing.verdicts.policy_option import policy_of
from fairpress.auditing.verdicts.wording import deciding_loss, loss_in, not_assessed
from fairpress.core.errors import UserError

if TYPE_CHECKING:
    from fairpress.auditing.verdicts.policy import Policy

DIGITS = 12
"""Digits of a policy's digest that are printed."""


@dataclass(frozen=True)
class GateLoss:
    """A loss that the gate looks at, and the group or pool whose it is."""

    group: Values | Pool
    loss: Loss


@dataclass(frozen=True)
class ModelGate:
    """Whether one compressed model passes, and everything that it depends on.

    Attributes
    ----------
    model
        Its name.
    bounds
        The bounds of the deciding metric over all assessed groups.
    binding
        The required group or pool whose bound is highest above its margin, or the least below; None if none is assessed.
    void
        Why the comparison is meaningless; None if it is not.
    shown
        Losses that are shown: harm in any metric, or a loss in the deciding one or beyond its margin in another.
    uncertain
        Required and assessed losses in the deciding metric of which the margin is not ruled out.
    missing
        Required groups that are not assessed alone.
    unassessed
        Other groups that are not assessed, alone or in a pool.
    pools
        Groups that are judged only together.
    nothing_assessed
        Whether no group has enough rows alone: a pool of all groups only shows the average.
    min_people_cleared
        The share of the people that must be cleared; None: no such condition.
    """

    model: str
    bounds: LossBounds
    binding: GateLoss | None
    void: str | None
    shown: tuple[GateLoss, ...]
    uncertain: tuple[GateLoss, ...]
    missing: tuple[GateLoss, ...]
    unassessed: tuple[GateLoss, ...]
    pools: tuple[Pool, ...]
    nothing_assessed: bool
    min_people_cleared: float | None = None

    @property
    def too_few_cleared(self) -> bool:
        """Whether fewer people are cleared than required."""
        return self.min_people_cleared is not None and self.bounds.cleared < self.min_people_cleared

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the model and every required loss is below its margin."""
        problems = (self.void, self.shown, self.uncertain, self.missing, self.nothing_assessed)
        return not any(problems) and not self.too_few_cleared


@dataclass(frozen=True)
class Gate:
    """The gate of a release with one or several compressed models.

    `metric` decides, at `margin`; `min_rows` is the number of rows of its denominator that a group needs. `policy` is the
    signed policy, if there is one.
    """

    baseline: str
    metric: str
    margin: Margin
    min_rows: int
    confidence: float
    models: tuple[ModelGate, ...]
    policy: PolicyRecord | None = None

    @property
    def measure(self) -> Measure:
        """What the deciding losses are measured in, and their words."""
        return self.models[0].bounds.measure

    @property
    def passed(self) -> bool:
        """Whether every model passes."""
        return all(m.passed for m in self.models)


def release_gate(audit: Audit, policy: Policy | None = None) -> Gate:
    """Return the gate of an audit.

    A model passes only if, in the deciding metric, the upper bound of every required group is below its margin. Required are
    the groups that the policy names, which must then be assessed; else every assessed group, every pool and all people
    together. A void comparison, a harm in any metric, and a loss that is shown fail everywhere, required or not.

    Parameters
    ----------
    policy
        The policy that the audit followed; by default the one that it records, if any.

    Raises
    ------
    UserError
        No compressed model is compared, the audit followed another policy or none, or the policy requires a group that is
        not in the table.
    """
    require_comparison(audit)
    recorded = audit.policy
    if policy is not None and (recorded is None or recorded.digest != policy.record().digest):
        other = "no policy" if recorded is None else f"the policy {recorded.digest[:DIGITS]}"
        raise UserError(
            f"the audit followed {other}, not {policy.record().digest[:DIGITS]} of {policy.signed.date}; audit with this "
            "one as `policy=`."
        )
    if policy is None and recorded is not None:
        policy = policy_of(recorded.content)
    required = required_groups(policy.required if policy is not None else (), audit)
    min_cleared = None if policy is None else policy.min_people_cleared
    metric = audit.metrics[0]
    return Gate(
        audit.baseline,
        metric,
        audit.margins[metric],
        audit.min_rows[metric],
        audit.confidence,
        tuple(_model(c, required, min_cleared) for c in audit.comparisons),
        recorded,
    )


def _model(c: Comparison, required: Sequence[Values], min_cleared: float | None) -> ModelGate:
    metric = c.bounds[0].metric
    groups = [c.overall, *(g for a in c.attributes for g in a.groups)]
    pools = [p for a in c.attributes for p in a.pools]
    deciding_pools = [p for p in pools if p.loss.metric == metric]
    shown = tuple(_shown(groups, pools, metric))
    judged = [GateLoss(g.values, loss_in(g, metric)) for g in groups]
    if required:
        names = [dict(r) for r in required]
        candidates = [x for x in judged if not isinstance(x.group, Pool) and dict(x.group) in names]
    else:
        candidates = [x for x in judged if x.loss.assessed] + [GateLoss(p, p.loss) for p in deciding_pools]
    assessed = [x for x in candidates if isinstance(x.group, Pool) or x.loss.assessed]
    missing = tuple(x for x in candidates if x not in assessed)
    uncertain = tuple(x for x in assessed if x.loss.verdict not in ("no_harm", "void") and x not in shown)
    lacking = [
        GateLoss(g.values, loss_in(g, metric)) for g in not_assessed(groups[1:], metric, deciding_pools)
    ]
    return ModelGate(
        c.compressed,
        c.bounds[0],
        max(
            (x for x in assessed if x.loss.upper is not None),
            key=lambda x: (x.loss.verdict != "no_harm", (x.loss.upper or 0.0) - x.loss.margin),
            default=None,
        ),
        c.void,
        shown,
        uncertain,
        missing,
        tuple(x for x in lacking if x not in missing),
        tuple(deciding_pools),
        not any(x.loss.assessed for x in judged[1:]),
        min_cleared,
    )


def _shown(groups: Sequence[GroupComparison], pools: Sequence[Pool], metric: str) -> Iterator[GateLoss]:
    for group in groups:
        if group.verdict in ("harm", "loss"):
            yield GateLoss(group.values, deciding_loss(group))
    for pool in pools:
        if pool.loss.verdict == "harm" or (pool.loss.verdict == "loss" and pool.loss.metric == metric):
            yield GateLoss(pool, pool.loss)
