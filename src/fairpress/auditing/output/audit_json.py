"""The audit as JSON, "fairpress.audit/1"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fairpress.auditing.outcome import AuditedOutcome
from fairpress.auditing.result import (
    Audit,
    Exemplars,
    GroupComparison,
    GroupRates,
    Loss,
    LossBounds,
    PairChange,
    PolicyRecord,
    Pool,
    SeedNoise,
    Values,
)
from fairpress.core.estimate import Estimate

SCHEMA = "fairpress.audit/1"


def to_dict(audit: Audit) -> dict[str, Any]:
    """Return the audit as audit.json holds it; unknown numbers are null, with a reason."""
    return {
        "schema": SCHEMA,
        "rows": audit.rows,
        "subjects": audit.subjects,
        "seeds": audit.seeds,
        "label": audit.label,
        "positive": audit.positive,
        "positive_from": audit.positive_from,
        "classes": list(audit.classes),
        "weight": audit.weight,
        "baseline": audit.baseline,
        "attributes": list(audit.attributes),
        "margin": audit.margin,
        "margins": {m: asdict(x) for m, x in audit.margins.items()},
        "min_rows": dict(audit.min_rows),
        "confidence": audit.confidence,
        "metrics": list(audit.metrics),
        "correction": audit.correction,
        "family": audit.family,
        "models": {
            m.name: {
                "runtime": m.runtime,
                "threshold": m.threshold,
                "degenerate": m.degenerate,
                "digest": m.digest,
                "overall": _rates(m.overall),
                "groups": [_rates(g) for g in m.groups],
            }
            for m in audit.models
        },
        "fairness": [
            {"model": f.model, "attribute": f.attribute, "metric": f.metric, "estimate": f.estimate.to_dict()}
            for f in audit.fairness
        ],
        "comparisons": {
            c.compressed: {
                "verdict": c.verdict,
                "void": c.void,
                "disparate": c.disparate,
                "headline": c.headline,
                "bounds": [bounds_to_dict(b) for b in c.bounds],
                "overall": _group(c.overall),
                "attributes": [
                    {
                        "attribute": a.attribute,
                        "verdict": a.verdict,
                        "worst_group": None if a.worst_group is None else dict(a.worst_group),
                        "groups": [_group(g) for g in a.groups],
                        "gap_changes": _estimates(a.gap_changes),
                        "moves": list(a.moves),
                        "cannot_show": a.cannot_show,
                        "pools": [_pool(p) for p in a.pools],
                    }
                    for a in c.attributes
                ],
                "pairs": [_pair(p) for p in c.pairs],
                "exemplars": None if c.exemplars is None else _exemplars(c.exemplars),
            }
            for c in audit.comparisons
        },
        "notes": list(audit.notes),
        "warnings": list(audit.warnings),
        "provenance": dict(audit.provenance),
        "policy": None if audit.policy is None else policy_to_dict(audit.policy),
        **({} if audit.outcome is None else {"outcome": outcome_to_dict(audit.outcome)}),
    }


def outcome_to_dict(outcome: AuditedOutcome) -> dict[str, Any]:
    """Return what is judged instead of a class as audit.json holds it."""
    return {
        "kind": outcome.kind,
        "columns": outcome.columns,
        "settings": dict(outcome.settings),
        "title": outcome.title,
        "measures": {
            metric: {"name": m.name, "unit": m.unit, "scale": m.scale, "higher_is_better": m.higher_is_better}
            for metric, m in outcome.measures.items()
        },
    }


def policy_to_dict(policy: PolicyRecord) -> dict[str, Any]:
    """Return the record of a policy as audit.json holds it."""
    return {**asdict(policy), "content": dict(policy.content)}


def _estimates(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: e.to_dict() for name, e in estimates.items()}


def _rates(group: GroupRates) -> dict[str, Any]:
    counts = {k: getattr(group, k) for k in ("n", "tp", "fp", "tn", "fn")}
    return {"values": dict(group.values), **counts, "rates": _estimates(group.rates)}


def _group(group: GroupComparison) -> dict[str, Any]:
    return {
        "values": dict(group.values),
        "n": group.n,
        "verdict": group.verdict,
        "sentence": group.sentence,
        "flips": asdict(group.flips),
        "changes": _estimates(group.changes),
        "losses": [loss_to_dict(x) for x in group.losses],
    }


def loss_to_dict(x: Loss) -> dict[str, Any]:
    """Return a loss as audit.json holds it."""
    return {
        "metric": x.metric,
        "estimate": x.estimate.to_dict(),
        "upper": x.upper,
        "p_harm_adjusted": x.p_harm_adjusted,
        "verdict": x.verdict,
        "margin": x.margin,
        "assessed": x.assessed,
        "excess": None if x.excess is None else x.excess.to_dict(),
        "rows_to_decide": None if x.rows_to_decide is None else asdict(x.rows_to_decide),
        "seeds": None if x.seeds is None else _seeds(x.seeds),
        **({} if x.levels is None else {"levels": [level.to_dict() for level in x.levels]}),
    }


def _pool(pool: Pool) -> dict[str, Any]:
    return {
        "attribute": pool.attribute,
        "members": [dict(m) for m in pool.members],
        "loss": loss_to_dict(pool.loss),
    }


def bounds_to_dict(b: LossBounds) -> dict[str, Any]:
    """Return the bounds of one metric as audit.json holds them."""
    return {
        "metric": b.metric,
        "margin": asdict(b.margin),
        "upper": b.upper,
        "upper_group": group_or_pool(b.upper_group),
        "lower": b.lower,
        "lower_group": None if b.lower_group is None else dict(b.lower_group),
        "largest": None if b.largest is None else b.largest.to_dict(),
        "largest_group": group_or_pool(b.largest_group),
        "cleared": b.cleared,
    }


def group_or_pool(group: Values | Pool | None) -> dict[str, Any] | None:
    """Return a group as an object, and a pool as the list of its members."""
    if isinstance(group, Pool):
        return {"values": None, "members": [dict(m) for m in group.members]}
    return None if group is None else {"values": dict(group), "members": None}


def _seeds(noise: SeedNoise) -> dict[str, Any]:
    return {
        "estimate": noise.estimate.to_dict(),
        "smallest_p": noise.smallest_p,
        "undecidable": noise.undecidable,
        "effect": noise.effect.to_dict(),
    }


def _pair(pair: PairChange) -> dict[str, Any]:
    return {
        "attribute": pair.attribute,
        "first": dict(pair.first),
        "second": dict(pair.second),
        "chosen": pair.chosen,
        "before": _estimates(pair.before),
        "after": _estimates(pair.after),
        "changes": _estimates(pair.changes),
    }


def _exemplars(exemplars: Exemplars) -> dict[str, Any]:
    return {
        "models": exemplars.models,
        "half": exemplars.half,
        "reason": exemplars.reason,
        "groups": [
            {
                "values": dict(g.values),
                "n": g.n,
                "share": g.share.to_dict(),
                "tied": g.tied,
                "expected": g.expected.to_dict(),
                "excess": g.excess.to_dict(),
            }
            for g in exemplars.groups
        ],
    }
