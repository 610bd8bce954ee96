"""The gate as JSON, "fairpress.gate/1"."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fairpress.auditing.output.audit_json import bounds_to_dict, group_or_pool, loss_to_dict, policy_to_dict
from fairpress.auditing.verdicts.release_gate import Gate, GateLoss, ModelGate

SCHEMA = "fairpress.gate/1"


def to_dict(gate: Gate) -> dict[str, Any]:
    """Return a gate as plain JSON; every loss has its estimate, interval and bound."""
    return {
        "schema": SCHEMA,
        "passed": gate.passed,
        "baseline": gate.baseline,
        "metric": gate.metric,
        "margin": asdict(gate.margin),
        "min_rows": gate.min_rows,
        "confidence": gate.confidence,
        "policy": None if gate.policy is None else policy_to_dict(gate.policy),
        "models": {m.model: _model(m) for m in gate.models},
    }


def _model(m: ModelGate) -> dict[str, Any]:
    lists = ("shown", "uncertain", "missing", "unassessed")
    return {
        "passed": m.passed,
        "void": m.void,
        "bounds": bounds_to_dict(m.bounds),
        "binding": None if m.binding is None else _loss(m.binding),
        **{name: [_loss(x) for x in getattr(m, name)] for name in lists},
        "pools": [group_or_pool(p) for p in m.pools],
        "nothing_assessed": m.nothing_assessed,
        "min_people_cleared": m.min_people_cleared,
    }


def _loss(x: GateLoss) -> dict[str, Any]:
    return {"group": group_or_pool(x.group), "loss": loss_to_dict(x.loss)}
