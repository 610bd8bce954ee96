"""Compare the audits of several releases, read from their audit.json: the same groups, their losses and e-values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fairpress.auditing.output.audit_json import SCHEMA
from fairpress.auditing.result import Values
from fairpress.auditing.statistics.e_process import average_e, e_bh, log_e_no_harm, release_level
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.errors import UserError, did_you_mean, listed

SHARED = ("baseline", "label", "positive", "margin", "confidence", "attributes")
"""Fields in which audits must agree to be compared."""


@dataclass(frozen=True)
class ReleaseGroup:
    """A group of a release: the loss with its interval, None where it is not estimable, and ln of its e-value."""

    n: float
    loss: float | None
    low: float | None
    high: float | None
    verdict: str
    log_e: float | None


@dataclass(frozen=True)
class GroupOverReleases:
    """One group over all releases.

    Attributes
    ----------
    attribute, values
        The group; ``""`` and ``{}`` are all rows.
    releases
        One entry per release, None where the group is not in its audit.
    log_e_average
        ln of the mean e-value against "every release loses the margin or more in this group"; None where one is absent.
        e-values (`statistics.e_process`) are those of accuracy where rows are independent and count once.
    """

    attribute: str
    values: Values
    releases: tuple[ReleaseGroup | None, ...]
    log_e_average: float | None


@dataclass(frozen=True)
class AuditsCompared:
    """Releases in the given order, and what they show together.

    Attributes
    ----------
    releases, verdicts
        Names, and verdicts of each audit.
    log_e
        ln of each release's smallest e-value over its groups: evidence that no group loses the margin or more.
    cleared
        Releases with `log_e` of at least ln 1/α_k, α_k = 6α/(π²k²): with the audits' confidence no release is cleared
        wrongly, however many follow.
    cleared_by_rate
        Releases cleared by e-BH: at most α of them wrongly, on average.
    """

    metric: str
    margin: float
    confidence: float
    releases: tuple[str, ...]
    verdicts: tuple[str, ...]
    groups: tuple[GroupOverReleases, ...]
    log_e: tuple[float | None, ...]
    cleared: tuple[bool | None, ...]
    cleared_by_rate: tuple[bool | None, ...]


def compare_audits(documents: Mapping[str, Any], metric: str | None = None) -> AuditsCompared:
    """Return the comparison of audits, given by name → document of audit.json, oldest first.

    Parameters
    ----------
    metric
        The metric whose losses are compared; by default the first of the audits'.

    Raises
    ------
    UserError
        A document is not an audit, has no compressed model, lacks the metric, or differs from the first in its baseline,
        label, margin, confidence or attributes: then their groups, losses or e-values mean different things.
    """
    if len(documents) < 2:
        raise UserError("name at least two audits, oldest first, such as v1.json v2.json.")
    first_name, first = next(iter(documents.items()))
    for name, document in documents.items():
        _require_audit(document, name)
        if document.get("outcome") is not None:
            raise UserError(
                f"{name} judges an outcome other than a class; releases are compared by lost correct answers, so compare "
                "audits of classes."
            )
        for field in SHARED:
            if document.get(field) != first.get(field):
                raise UserError(
                    f"{name} cannot be compared with {first_name}: its {field} {_verb(field)} {_text(document.get(field))}, "
                    f"not {_text(first.get(field))}; audit both with the same options."
                )
    chosen = first["metrics"][0] if metric is None else metric
    for name, document in documents.items():
        if chosen not in document["metrics"]:
            raise UserError(
                f"{name} does not judge {chosen!r}, only {listed(document['metrics'])}."
                + did_you_mean(chosen, document["metrics"])
            )
    try:
        margins = {(m["value"], m["relative"]) for m in (d["margins"][chosen] for d in documents.values())}
        value, relative = next(iter(margins))
        if relative or len(margins) > 1:
            raise UserError(
                f"audits are compared at one absolute margin of {chosen}; audit all with the same."
            )
        columns = [column for name, d in documents.items() for column in _releases(name, d, chosen)]
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(
            f"one of the audits is damaged ({type(error).__name__}: {error}); write it again with fairpress audit --json."
        ) from None
    return _compared(columns, chosen, float(value), float(first["confidence"]))


@dataclass(frozen=True)
class _Release:
    name: str
    verdict: str
    groups: Mapping[tuple[str, str], ReleaseGroup]


def _compared(columns: Sequence[_Release], metric: str, margin: float, confidence: float) -> AuditsCompared:
    alpha = 1 - confidence
    keys = list(dict.fromkeys(key for column in columns for key in column.groups))
    groups = []
    for attribute, text in keys:
        entries = tuple(column.groups.get((attribute, text)) for column in columns)
        log_e = [None if e is None else e.log_e for e in entries]
        complete = [e for e in log_e if e is not None]
        average = float(average_e(complete)) if len(complete) == len(columns) else None
        groups.append(GroupOverReleases(attribute, json.loads(text), entries, average))
    smallest = tuple(_smallest([g.log_e for g in column.groups.values()]) for column in columns)
    needed = -np.log(release_level(np.arange(1, len(columns) + 1), alpha))
    testable = {i: e for i, e in enumerate(smallest) if e is not None}
    by_rate = dict(zip(testable, e_bh(list(testable.values()), alpha), strict=True))
    return AuditsCompared(
        metric,
        margin,
        confidence,
        tuple(column.name for column in columns),
        tuple(column.verdict for column in columns),
        tuple(groups),
        smallest,
        tuple(None if e is None else bool(e >= c) for e, c in zip(smallest, needed, strict=True)),
        tuple(bool(by_rate[i]) if i in by_rate else None for i in range(len(columns))),
    )


def _smallest(log_e: Sequence[float | None]) -> float | None:
    values = [e for e in log_e if e is not None]
    return min(values) if values and len(values) == len(log_e) else None


def _releases(name: str, document: Mapping[str, Any], metric: str) -> list[_Release]:
    plain = (
        document.get("weight") is None and document.get("subjects") is None and document.get("seeds") is None
    )
    margin = float(document["margins"][metric]["value"])
    comparisons = document["comparisons"]
    out = []
    for model, comparison in comparisons.items():
        entries = [("", comparison["overall"])]
        entries += [(a["attribute"], g) for a in comparison["attributes"] for g in a["groups"]]
        groups = {
            (attribute, json.dumps(dict(sorted(g["values"].items())))): _group(g, metric, plain, margin)
            for attribute, g in entries
        }
        verdict = str(comparison["verdict"])
        out.append(_Release(name if len(comparisons) == 1 else f"{name}: {model}", verdict, groups))
    return out


def _group(group: Mapping[str, Any], metric: str, plain: bool, margin: float) -> ReleaseGroup:
    loss = next(x for x in group["losses"] if x["metric"] == metric)
    estimate, flips = loss["estimate"], group["flips"]
    if loss["verdict"] not in WORST_FIRST:
        raise TypeError(f"the verdict {str(loss['verdict'])[:40]!r} of {group_name(group['values'])}")
    log_e = None
    if plain and metric == "accuracy":
        lost, gained, n = (float(flips[k]) for k in ("right_to_wrong", "wrong_to_right", "n"))
        log_e = float(log_e_no_harm(lost, gained, n, margin))
    value, low, high = (
        None if estimate.get(k) is None else float(estimate[k]) for k in ("value", "low", "high")
    )
    return ReleaseGroup(float(estimate["n"]), value, low, high, loss["verdict"], log_e)


def _require_audit(document: Any, name: str) -> None:
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise UserError(
            f"{name} is not an audit ({SCHEMA}); write one with fairpress audit … --json > v1.json."
        )
    metrics, comparisons = document.get("metrics"), document.get("comparisons")
    if not isinstance(metrics, list) or not metrics or not isinstance(comparisons, Mapping):
        raise UserError(f"{name} lacks metrics or comparisons; write it again with fairpress audit --json.")
    if not comparisons:
        raise UserError(
            f"{name} compares no compressed model with {document.get('baseline')}; audit with --compressed."
        )


def _verb(field: str) -> str:
    return "are" if field == "attributes" else "is"


def _text(value: object) -> str:
    return listed([str(v) for v in value]) if isinstance(value, list) else str(value)


def to_dict(compared: AuditsCompared) -> dict[str, Any]:
    """Return the comparison as JSON holds it."""
    return {**asdict(compared), "groups": [{**asdict(g), "values": dict(g.values)} for g in compared.groups]}
