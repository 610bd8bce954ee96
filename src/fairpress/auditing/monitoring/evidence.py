"""What a ledger shows about each release, at any number of looks and for all releases together.

Release k (in the order of first looks) is judged at the level α_k = 6α/(π²k²), which sum to α over all releases there will
ever be. As in an audit, a group is judged from as many rows on as show "no harm" with 90 % power, and one error decides.
Within a release, "no harm" of all groups needs no correction (intersection–union); loss and harm of some group are
corrected by Bonferroni, whose e-values need K/α_k. Method: `statistics.e_process`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.monitoring.ledger import GroupCount, Ledger, Terms, Use
from fairpress.auditing.result import Values, Verdict
from fairpress.auditing.statistics.e_process import (
    log_e_loss,
    log_e_no_harm,
    release_level,
    upper_bound,
)
from fairpress.auditing.verdicts.eligibility import min_rows_for
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import group_name, metric_name, name_groups, points_up


@dataclass(frozen=True)
class MonitoredGroup:
    """A group in a metric after all looks at a release.

    Attributes
    ----------
    count
        The counts at the last look.
    log_e
        ln of the present e-value against a loss of the margin or more; an e-value, which may be averaged.
    log_e_largest
        ln of the largest so far, which decides; `needed` is ln of what "no harm" needs.
    log_e_loss
        ln of the largest e-value so far against ℓ ≤ 0.
    upper
        Bound of the loss at any number of looks, at the release's level; 1 where nothing is ruled out.
    verdict
        ``harm``, ``loss``, ``no_harm``, ``inconclusive``, or ``not_estimable``: as yet too few rows, by the rule of an
        audit.
    """

    count: GroupCount
    log_e: float
    log_e_largest: float
    log_e_loss: float
    needed: float
    upper: float
    verdict: Verdict


@dataclass(frozen=True)
class MonitoredRelease:
    """A release: its number in the ledger from 1, its looks, its level α_k, and all groups; the first are all rows.

    `metric` decides, as in an audit: in the others only harm counts.
    """

    name: str
    number: int
    looks: tuple[Use, ...]
    level: float
    metric: str
    groups: tuple[MonitoredGroup, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the groups that have enough rows; ``not_estimable`` if none has."""
        verdicts = {g.verdict for g in self.groups if g.count.metric == self.metric or g.verdict == "harm"}
        by_group = {g.verdict for g in self.groups if g.count.metric == self.metric and g.count.values}
        if by_group == {"not_estimable"} and not verdicts & {"harm", "loss"}:
            return "not_estimable"
        return next(v for v in WORST_FIRST if v in verdicts and v != "not_estimable")

    @property
    def upper(self) -> float:
        """The loss in the deciding metric that no group with enough rows exceeds, at any look and for all releases."""
        judged = [g for g in self.groups if g.count.metric == self.metric and g.verdict != "not_estimable"]
        return max((g.upper for g in judged), default=1.0)


def evidence(ledger: Ledger) -> list[MonitoredRelease]:
    """Return every release of a ledger, in the order of first looks."""
    return [_release(looks, number, ledger.terms) for number, looks in enumerate(ledger.releases(), start=1)]


def _release(looks: tuple[Use, ...], number: int, terms: Terms) -> MonitoredRelease:
    margin = terms.margin
    level = float(release_level(number, 1 - terms.confidence))
    enough = min_rows_for(margin, terms.confidence)
    last = looks[-1].groups
    groups = []
    for count in last:
        seen = [g for look in looks for g in look.groups if g.key == count.key]
        lost, gained, n = (np.array([getattr(g, name) for g in seen]) for name in ("lost", "gained", "n"))
        clear = log_e_no_harm(lost, gained, n, margin)
        loss, harm = (float(log_e_loss(lost, gained, n, m).max()) for m in (0.0, margin))
        corrected = float(np.log(len(last) / level))
        needed = -float(np.log(level))
        verdict: Verdict = (
            "harm"
            if harm >= corrected
            else "loss"
            if n[-1] < enough and loss >= corrected
            else "not_estimable"
            if n[-1] < enough
            else "no_harm"
            if clear.max() >= needed
            else "loss"
            if loss >= corrected
            else "inconclusive"
        )
        groups.append(
            MonitoredGroup(
                count,
                float(clear[-1]),
                float(clear.max()),
                loss,
                needed,
                upper_bound(lost, gained, n, level),
                verdict,
            )
        )
    return MonitoredRelease(looks[-1].release, number, looks, level, terms.metrics[0], tuple(groups))


def sentences(ledger: Ledger, release: MonitoredRelease) -> list[str]:
    """Return what the ledger shows about a release, what was verified, and what cannot be."""
    confidence = f"{ledger.terms.confidence:.0%}".replace("%", " %")
    looks, uses, releases = len(release.looks), len(ledger.uses), len(ledger.releases())
    shown = (
        f"the {metric_name(release.metric)} of no group with enough rows rises by more than {points_up(release.upper)} "
        "percentage points"
        if release.upper < 1
        else f"no bound of the {metric_name(release.metric)} holds for every group yet"
    )
    out = [
        f"{release.name}: release {release.number} of this ledger, look {looks}. With {confidence} confidence, at any "
        f"number of looks and for all releases together, {shown}."
    ]
    by_verdict = {
        v: list(dict.fromkeys(_name(g.count) for g in release.groups if g.verdict == v))
        for v in ("harm", "loss", "no_harm", "inconclusive", "not_estimable")
    }
    words = {
        "harm": "Harm",
        "loss": "Some loss",
        "no_harm": "No harm",
        "inconclusive": "Inconclusive",
        "not_estimable": "Too few rows yet",
    }
    out += [f"{words[v]}: {name_groups(names)}." for v, names in by_verdict.items() if names]
    level = f"{100 * release.level:.2g} %"
    out.append(
        f"This test set has judged {_count(releases, 'release')} in {_count(uses, 'look')}; the level of release "
        f"{release.number} is {level}, so that all releases together keep {confidence}."
    )
    return [*out, *verification(ledger, release.looks[-1])]


def verification(ledger: Ledger, use: Use) -> list[str]:
    """Return what was verified about the rows of the last use, and what no ledger can verify."""
    out = []
    previous = [u for u in ledger.uses[:-1] if u.identity == use.identity]
    if previous:
        before = f"{previous[-1].rows:,} rows of the previous look"
        if use.earlier_rows:
            out.append(f"Verified: the {before} are the first rows of this table, unchanged.")
        else:
            out.append(
                f"Not verified: that the {before} are among these; only that no count has shrunk. Append new rows to the "
                "same file, so that it can be verified."
            )
    elif ledger.uses[:-1] and use.test_rows is not None:
        same = any(u.test_rows == use.test_rows for u in ledger.uses[:-1])
        out.append(
            "Verified: an earlier release was judged on the same rows, labels and groups."
            if same
            else "These are not the rows of an earlier use; the levels of the ledger are kept nevertheless."
        )
    out.append(
        "No ledger can verify that new rows were gathered regardless of what the models predict for them, or that a release "
        "was made without looking at these rows."
    )
    return out


def to_dict(ledger: Ledger, release: MonitoredRelease) -> dict[str, Any]:
    """Return a release as JSON holds it."""
    return {
        "release": release.name,
        "number": release.number,
        "looks": len(release.looks),
        "level": release.level,
        "verdict": release.verdict,
        "upper": release.upper,
        "groups": [
            {
                "attribute": g.count.attribute,
                "values": dict(g.count.values),
                "metric": g.count.metric,
                "lost": g.count.lost,
                "gained": g.count.gained,
                "n": g.count.n,
                "log_e": g.log_e,
                "log_e_largest": g.log_e_largest,
                "log_e_needed": g.needed,
                "log_e_loss": g.log_e_loss,
                "upper": g.upper,
                "verdict": g.verdict,
            }
            for g in release.groups
        ],
        "sentences": sentences(ledger, release),
    }


def _name(count: GroupCount) -> str:
    values: Values = count.values
    suffix = "" if count.metric == "accuracy" else f" ({count.metric.upper()})"
    return group_name(values) + suffix


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
