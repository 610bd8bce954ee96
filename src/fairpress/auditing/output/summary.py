"""The summary of an audit that is embedded in a model file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from fairpress.auditing.output.audit_json import bounds_to_dict, outcome_to_dict, policy_to_dict
from fairpress.auditing.result import Audit, Comparison
from fairpress.auditing.verdicts.wording import ERROR_NAME, group_name
from fairpress.core.card_content import problem_of
from fairpress.core.errors import UserError, did_you_mean

SUMMARY = "fairpress.summary/1"


def summary(audit: Audit, model: str) -> dict[str, Any]:
    """Return the summary of an audit for one compressed model, as plain JSON.

    Raises UserError when the audit does not compare that model with the baseline.
    """
    names = [c.compressed for c in audit.comparisons]
    if model not in names:
        raise UserError(f"the audit does not compare a model {model!r}." + did_you_mean(model, names))
    comparison: Comparison = next(c for c in audit.comparisons if c.compressed == model)
    return {
        "schema": SUMMARY,
        "baseline": audit.baseline,
        "compressed": model,
        "verdict": comparison.verdict,
        "void": comparison.void,
        "disparate": comparison.disparate,
        "headline": comparison.headline,
        "bounds": [bounds_to_dict(b) for b in comparison.bounds],
        "margin": audit.margin,
        "confidence": audit.confidence,
        "rows": audit.rows,
        "subjects": audit.subjects,
        "seeds": audit.seeds,
        "label": audit.label,
        "positive": audit.positive,
        "positive_from": audit.positive_from,
        "warnings": list(audit.warnings),
        "attributes": list(audit.attributes),
        "groups": [
            {
                "values": dict(g.values),
                "n": g.n,
                "verdict": g.verdict,
                "losses": {
                    x.metric: {
                        **x.estimate.to_dict(),
                        "upper": x.upper,
                        "verdict": x.verdict,
                        "assessed": x.assessed,
                    }
                    for x in g.losses
                },
            }
            for a in comparison.attributes
            for g in a.groups
        ],
        "provenance": dict(audit.provenance),
        "policy": None if audit.policy is None else policy_to_dict(audit.policy),
        **({} if audit.outcome is None else {"outcome": outcome_to_dict(audit.outcome)}),
    }


class _Loss(BaseModel):
    value: FiniteFloat | None
    verdict: str


class _Group(BaseModel):
    values: dict[str, str]
    verdict: str
    losses: dict[str, _Loss]


class _Bound(BaseModel):
    metric: str
    upper: FiniteFloat | None
    lower: FiniteFloat | None
    cleared: FiniteFloat


class _Measure(BaseModel):
    name: str
    unit: str
    scale: FiniteFloat
    higher_is_better: bool


class _Outcome(BaseModel):
    measures: dict[str, _Measure]


class SummaryContent(BaseModel):
    """The fields of an embedded summary that `summary_text` needs."""

    model_config = ConfigDict(strict=True)

    baseline: str
    verdict: str
    disparate: bool | None
    headline: str
    bounds: list[_Bound]
    rows: int
    attributes: list[str]
    margin: FiniteFloat
    positive: str | None
    groups: list[_Group]
    warnings: list[str] = Field(default_factory=list)
    outcome: _Outcome | None = None


def summary_text(content: dict[str, Any]) -> list[str]:
    """Return the lines that `fairpress show` prints for an embedded summary. Raises UserError if it is damaged."""
    problem = problem_of(SummaryContent, content)
    if problem is not None:
        raise UserError(f"the audit inside this file is damaged ({problem}); embed it again.")
    lines = [
        f"audited against {content['baseline']}: {_verdict(content)}"
        + ("; uneven" if content["disparate"] else ""),
        *(f"  ! {line}" for line in content.get("warnings", ())),
        f"  {content['headline']}",
        f"  {content['rows']:,} rows, by {', '.join(content['attributes'])}; margin {_margin(content)}"
        + (f"; positive class: {content['positive']}" if content["positive"] is not None else ""),
    ]
    for group in content["groups"]:
        if group["verdict"] in ("harm", "loss"):
            parts = [
                _rise(m, e["value"], content) for m, e in group["losses"].items() if e["value"] is not None
            ]
            unit = "rise in points" if content.get("outcome") is None else "loss"
            lines.append(
                f"  {group_name(group['values'])}: {_WORD[group['verdict']]}; {unit}: {', '.join(parts)}"
            )
    return lines


_WORD = {"loss": "some loss", "not_estimable": "not assessed", "no_harm": "no harm"} | {
    v: v for v in ("harm", "void", "inconclusive")
}


def _verdict(content: Mapping[str, Any]) -> str:
    """Return the verdict with its error: the deciding one, else that with the same verdict in some group."""
    verdict = content["verdict"]
    word: str = _WORD.get(verdict, verdict)
    if verdict in ("void", "not_estimable") or not content["bounds"]:
        return word
    metrics = [b["metric"] for b in content["bounds"]]
    behind = {
        m
        for g in content["groups"]
        for m, x in g["losses"].items()
        if verdict in ("harm", "loss") and g["verdict"] == x["verdict"] == verdict
    }
    return f"{word} in {_error(next((m for m in metrics if m in behind), metrics[0]), content)}"


def _error(metric: str, content: Mapping[str, Any]) -> str:
    measure = _measure(metric, content)
    return ERROR_NAME.get(metric, metric) if measure is None else str(measure["name"])


def _measure(metric: str, content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    outcome = content.get("outcome")
    return None if outcome is None else outcome["measures"].get(metric)


def _margin(content: Mapping[str, Any]) -> str:
    """Return the margin of the deciding metric in its unit."""
    measure = _measure(content["bounds"][0]["metric"], content) if content["bounds"] else None
    if measure is None:
        return f"{100 * content['margin']:g} points"
    return f"{measure['scale'] * content['margin']:g} {measure['unit']}".rstrip()


def _rise(metric: str, value: float, content: Mapping[str, Any]) -> str:
    measure = _measure(metric, content)
    if measure is None:
        return f"{_error(metric, content)} {100 * value:+.1f}"
    return f"{measure['name']} {measure['scale'] * value:+.4g} {measure['unit']}".rstrip()
