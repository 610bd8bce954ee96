"""The options of an audit, validated in one place; every way to start an audit passes an `AuditOptions`.

A plain dataclass: to import pydantic and build its schema takes as long as counting the rows of most tables.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fairpress.auditing.class_recall import RECALL
from fairpress.auditing.outcome import OutcomeRequest, outcome_request
from fairpress.auditing.verdicts.margins import DEFAULT_MARGIN, HARMS, margins_of, min_rows_of
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.auditing.verdicts.policy_option import policy_of, with_policy
from fairpress.auditing.verdicts.rules import JUDGED_BINARY, JUDGED_MULTICLASS
from fairpress.core.attribute import SEPARATOR
from fairpress.core.errors import UserError, did_you_mean

FAMILIES = ("artifact", "study")
MISSING_POLICIES = ("group", "refuse")


def _names(given: Any, field: str) -> tuple[str, ...] | None:
    if given is None and field != "by":
        return None
    return names_of(given, field)


def names_of(given: Any, field: str) -> tuple[str, ...]:
    """Return a tuple of names; a single name may be given as a string. Raises UserError for anything else."""
    if isinstance(given, str):
        return (given,)
    try:
        names = () if given is None else tuple(given)
    except TypeError:
        names = (given,)
    invalid = next((x for x in names if not isinstance(x, str)), None)
    if invalid is None:
        return names
    if field == "by" and isinstance(invalid, (tuple, list)) and all(isinstance(x, str) for x in invalid):
        crossed = SEPARATOR.join(invalid)
        raise UserError(
            f"`by=` is a list of names, and an intersection is one of them: `by=[{crossed!r}]`, not {invalid!r}."
        )
    example = "sex" if field == "by" else "int8"
    raise UserError(
        f"`{field}=` is a list of names, such as ['{example}'], and must not contain {invalid!r}."
    )


def _attributes(given: Any, field: str) -> tuple[str, ...] | None:
    names = _names(given, field)
    if not any(name.strip() for name in names or ()):
        raise UserError("name at least one sensitive attribute, such as `by=['sex', 'race']`.")
    return names


def _judged_metrics(given: Any, field: str) -> tuple[str, ...] | None:
    names = _names(given, field)
    unknown = [m for m in names or () if m not in (*JUDGED_BINARY, RECALL)]
    if unknown or (names is not None and not names):
        raise UserError(
            f"`metrics=` must name some of accuracy, tpr, fpr and recall, not {', '.join(unknown) or 'an empty list'}."
        )
    return names


def _column(given: Any, field: str) -> str | None:
    if given is not None and not isinstance(given, str):
        raise UserError(f"`{field}=` is the name of one column, not {given!r}.")
    return given


def _required_column(given: Any, field: str) -> str:
    if given is None:
        raise UserError(f"`{field}=` is the name of one column, not None.")
    return _column(given, field) or ""


def _mapping(given: Any, field: str) -> Mapping[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        example = "{'int8': 'int8.score>=0.3'}" if field == "decide" else "{'age': [25, 45]}"
        raise UserError(f"`{field}=` is a dict, such as {example}, not {given!r}.")
    return given or {}


def _number(name: str, example: float, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float, np.number)):
        raise UserError(f"the {name} is a number such as {example}, not {given!r}.")
    return float(given)


def checked_confidence(given: Any) -> float:
    """Return a confidence between 0.5 and 1. Raises UserError for anything else."""
    confidence = _number("confidence", 0.95, given)
    if not 0.5 < confidence < 1:
        meant = f"did you mean {confidence / 100:g}?" if 50 < confidence < 100 else "0.95 means 95 %."
        raise UserError(f"the confidence must be between 0.5 and 1, not {confidence:g}; {meant}")
    return confidence


def _harm(given: Any, field: str) -> str:
    if given not in HARMS:
        raise UserError(f"`harm=` must be one of {', '.join(HARMS)}, not {given!r}.")
    return str(given)


def _missing(given: Any, field: str) -> str:
    if given not in MISSING_POLICIES:
        raise UserError(f"`missing=` must be {' or '.join(MISSING_POLICIES)}, not {given!r}.")
    return str(given)


def _correction(given: Any, field: str) -> str:
    if given not in tuple(CORRECTIONS):
        raise UserError(f"`correction=` must be one of {', '.join(CORRECTIONS)}, not {given!r}.")
    return str(given)


def _family(given: Any, field: str) -> str:
    if given not in FAMILIES:
        raise UserError(f"`family=` must be {' or '.join(FAMILIES)}, not {given!r}.")
    return str(given)


def _pairs(given: Any, field: str) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str) else () if given is None else tuple(given)


_VALIDATORS: Mapping[str, Callable[[Any, str], Any]] = {
    "label": _required_column,
    "compressed": _names,
    "by": _attributes,
    "decide": _mapping,
    "outcome": lambda given, _: outcome_request(given),
    "min_rows": lambda given, _: min_rows_of(given),
    "confidence": lambda given, _: checked_confidence(given),
    "harm": _harm,
    "metrics": _judged_metrics,
    "bins": _mapping,
    "missing": _missing,
    "correction": _correction,
    "family": _family,
    "pairs": _pairs,
    "policy": lambda given, _: policy_of(given),
    "row_id": _required_column,
    **dict.fromkeys(("baseline", "weight", "subject", "seed_column", "counterfactual"), _column),
}
_BUILT: Any = None
"""Stands where the validator of an option builds its default."""
_WITHOUT_DEFAULT = ("by", "decide", "min_rows", "bins")


@dataclass(frozen=True, init=False)
class AuditOptions:
    """The options of an audit, as `audit.audit` describes them; a new option is one field here and one keyword there.

    Values are normalized: lists of names are tuples, a single name is a tuple of one, `margin` and `min_rows` are by error
    (the margin of an `outcome` that is not a class stays as it was given).
    ``None`` for `baseline` or `compressed` means the models that the table records, and for `metrics` all that the label
    allows. A policy sets the options that it fixes.

    Raises
    ------
    UserError
        A value has the wrong type or is out of range; the message names the parameter.
    """

    label: str = "label"
    baseline: str | None = None
    compressed: Sequence[str] | None = None
    by: Sequence[str] = _BUILT
    positive: Any = None
    decide: Mapping[str, Any] = _BUILT
    outcome: OutcomeRequest | None = None
    margin: Any = None
    min_rows: Any = None
    confidence: float = 0.95
    harm: str = "error"
    metrics: Sequence[str] | None = None
    weight: str | None = None
    subject: str | None = None
    seed_column: str | None = None
    row_id: str = "row_id"
    bins: Mapping[str, Any] = _BUILT
    missing: str = "group"
    correction: str = "westfall-young"
    family: str = "artifact"
    pairs: Sequence[Any] = ()
    pairs_from: Any = None
    counterfactual: str | None = None
    policy: Any = None

    def __init__(self, **given: Any) -> None:
        given = with_policy(given)
        names = [f.name for f in fields(self)]
        if unknown := [name for name in given if name not in names]:
            raise UserError(f"an audit has no option `{unknown[0]}=`." + did_you_mean(unknown[0], names))
        for name in names:
            value = given.get(name, getattr(type(self), name))
            if name in _VALIDATORS and (name in given or name in _WITHOUT_DEFAULT):
                value = _VALIDATORS[name](value, name)
            object.__setattr__(self, name, value)
        if self.outcome is None:  # the unit of another margin is known where its kind is
            margin = margins_of(DEFAULT_MARGIN if self.margin is None else self.margin)
            object.__setattr__(self, "margin", margin)

    def with_changes(self, **changes: Any) -> AuditOptions:
        """Return the same options with others in place of some, which are normalized already."""
        changed = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(changed, name, value)
        return changed

    @property
    def keys(self) -> dict[str, str]:
        """Role → column, of the columns that identify repeated rows: ``"subject"``, ``"seed"``, ``"row"``."""
        return {
            **({"subject": self.subject} if self.subject is not None else {}),
            **({"seed": self.seed_column, "row": self.row_id} if self.seed_column is not None else {}),
        }

    def judged(self, binary: bool) -> tuple[str, ...]:
        """Return the metrics whose losses are judged, for a label with or without a positive class.

        Without the recall of every class, which is one metric per class (`judges_classes`).
        """
        return tuple(
            m for m in self.metrics or (JUDGED_BINARY if binary else JUDGED_MULTICLASS) if m != RECALL
        )

    @property
    def judges_classes(self) -> bool:
        """Whether the recall of every class is judged, too."""
        return RECALL in (self.metrics or ())


def options_of(arguments: Mapping[str, Any]) -> AuditOptions:
    """Return the options of keyword arguments, of which those that have their default count as not given."""
    policy = policy_of(arguments.get("policy"))
    if policy is None:
        return AuditOptions(**arguments)
    fixed = policy.options()
    given = {
        k: v
        for k, v in arguments.items()
        if k not in fixed or (v is not None and v != getattr(AuditOptions, k))
    }
    return AuditOptions(**{**given, "policy": policy})
