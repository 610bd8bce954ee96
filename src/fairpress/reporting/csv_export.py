"""Audits and claims as CSV: one row per number, with its interval and n; missing values are empty."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairpress.auditing.result import Audit, Loss
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.estimate import Estimate
from fairpress.reporting import claims as words

COLUMNS = ("section", "model", "against", "attribute", "group", "what", "metric",
           "value", "low", "high", "upper", "n", "p", "p_adjusted", "margin", "assessed", "verdict")  # fmt: skip


def audits_csv(audits: Sequence[tuple[str, Audit]]) -> str:
    """Return all rates, gaps, losses and bounds of audits, each with the heading of its section.

    `upper` is the one-sided bound of a loss that decides its verdict. A row ``bound`` is that of a whole comparison:
    ``upper`` is the largest loss that is not ruled out for some assessed group, ``low`` the largest that is shown.
    """
    return _written(COLUMNS, (row for title, audit in audits for row in _rows(title, audit)))


def claims_csv(answers: Sequence[Mapping[str, Any]]) -> str:
    """Return the results of claims."""
    columns = ("claim", "says", "source", "published", "quantity", "compared", "asked", "answer", "why",
               "effect", "low", "high", "p", "p_adjusted", "g_z", "seeds", "networks", "rows")  # fmt: skip
    rows = (
        {
            "claim": a["name"],
            **{k: a["claim"].get(k, "") for k in ("says", "source", "published")},
            "quantity": words.quantity(a),
            "compared": words.compared(a),
            "asked": words.expected(a),
            **{k: a[k] for k in ("answer", "why", "p", "p_adjusted", "seeds", "networks", "rows")},
            "effect": a["effect"].get("value"),
            **{k: a["effect"].get(k) for k in ("low", "high")},
            "g_z": (a["size"] or {}).get("value"),
        }
        for a in answers
    )
    return _written(columns, rows)


def _rows(title: str, audit: Audit) -> Iterator[dict[str, Any]]:
    for m in audit.models:
        for g in (m.overall, *m.groups):
            for metric, e in g.rates.items():
                yield {
                    "section": title,
                    "model": m.name,
                    **_group(g.values),
                    "what": "rate",
                    "metric": metric,
                    **_numbers(e),
                }
    for f in audit.fairness:
        yield {
            "section": title,
            "model": f.model,
            "attribute": f.attribute,
            "what": "gap",
            "metric": f.metric,
            **_numbers(f.estimate),
        }
    for c in audit.comparisons:
        models = {"section": title, "model": c.compressed, "against": audit.baseline}
        for b in c.bounds:
            bound = {"what": "bound", "metric": b.metric, "upper": b.upper, "low": b.lower}
            margin = {"margin": None if b.margin.relative else b.margin.value}
            yield {**models, **bound, **margin, "verdict": c.verdict if b is c.bounds[0] else ""}
        for x in (c.overall, *(g for a in c.attributes for g in a.groups)):
            for loss in (*x.losses, *x.class_losses):
                yield {**models, **_group(x.values), "what": "loss", **_loss(loss)}
        for pool in (p for a in c.attributes for p in a.pools):
            members = "; ".join(", ".join(map(str, m.values())) for m in pool.members)
            group = {"attribute": pool.attribute, "group": members}
            yield {**models, **group, "what": "loss of small groups together", **_loss(pool.loss)}
        for a in c.attributes:
            for metric, e in a.gap_changes.items():
                yield {
                    **models,
                    "attribute": a.attribute,
                    "what": "change of a gap",
                    "metric": metric,
                    **_numbers(e),
                }


def _loss(loss: Loss) -> dict[str, Any]:
    return {
        "metric": loss.metric,
        "upper": loss.upper,
        "margin": loss.margin,
        "assessed": loss.assessed,
        "verdict": loss.verdict,
        **_numbers(loss.estimate),
    }


def _group(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        "attribute": "*".join(values),
        "group": ", ".join(map(str, values.values())) or group_name(values),
    }


def _numbers(e: Estimate) -> dict[str, Any]:
    return {k: getattr(e, k) for k in ("value", "low", "high", "n", "p", "p_adjusted")}


def _written(columns: Sequence[str], rows: Any) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
