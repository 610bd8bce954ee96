"""The options of an audit, validated in one place; every way to start an audit passes an `AuditOptions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from fairpress.auditing.class_recall import RECALL
from fairpress.auditing.outcome import OutcomeRequest, outcome_request
from fairpress.auditing.verdicts.margins import DEFAULT_MARGIN, HARMS, margins_of, min_rows_of
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.auditing.verdicts.policy_option import policy_of, with_policy
from fairpress.auditing.verdicts.rules import JUDGED_BINARY, JUDGED_MULTICLASS
from fairpress.core.attribute import SEPARATOR
from fairpress.core.errors import UserError

FAMILIES = ("artifact", "study")
MISSING_POLICIES = ("group", "refuse")


def _names(given: Any, info: ValidationInfo) -> tuple[str, ...] | None:
    if given is None and info.field_name != "by":
        return None
    return names_of(given, info.field_name or "")


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


def _attributes(given: Any, info: ValidationInfo) -> tuple[str, ...] | None:
    names = _names(given, info)
    if not any(name.strip() for name in names or ()):
        raise UserError("name at least one sensitive attribute, such as `by=['sex', 'race']`.")
    return names


def _judged_metrics(given: Any, info: ValidationInfo) -> tuple[str, ...] | None:
    names = _names(given, info)
    unknown = [m for m in names or () if m not in (*JUDGED_BINARY, RECALL)]
    if unknown or (names is not None and not names):
        raise UserError(
            f"`metrics=` must name some of accuracy, tpr, fpr and recall, not {', '.join(unknown) or 'an empty list'}."
        )
    return names


def _column(given: Any, info: ValidationInfo) -> str | None:
    if given is not None and not isinstance(given, str):
        raise UserError(f"`{info.field_name}=` is the name of one column, not {given!r}.")
    return given


def _required_column(given: Any, info: ValidationInfo) -> str:
    if given is None:
        raise UserError(f"`{info.field_name}=` is the name of one column, not None.")
    return _column(given, info) or ""


def _mapping(given: Any, info: ValidationInfo) -> Mapping[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        example = "{'int8': 'int8.score>=0.3'}" if info.field_name == "decide" else "{'age': [25, 45]}"
        raise UserError(f"`{info.field_name}=` is a dict, such as {example}, not {given!r}.")
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


def _margin(given: Any, info: ValidationInfo) -> Any:
    """Return the margins by error; those of an outcome that is not a class are read where its kind is known."""
    if info.data.get("outcome") is not None:
        return given
    return margins_of(DEFAULT_MARGIN if given is None else given)


def _harm(given: Any) -> str:
    if given not in HARMS:
        raise UserError(f"`harm=` must be one of {', '.join(HARMS)}, not {given!r}.")
    return str(given)


def _missing(given: Any) -> str:
    if given not in MISSING_POLICIES:
        raise UserError(f"`missing=` must be {' or '.join(MISSING_POLICIES)}, not {given!r}.")
    return str(given)


def _correction(given: Any) -> str:
    if given not in tuple(CORRECTIONS):
        raise UserError(f"`correction=` must be one of {', '.join(CORRECTIONS)}, not {given!r}.")
    return str(given)


def _family(given: Any) -> str:
    if given not in FAMILIES:
        raise UserError(f"`family=` must be {' or '.join(FAMILIES)}, not {given!r}.")
    return str(given)


def _pairs(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str) else tuple(given or ())


Column = Annotated[str, BeforeValidator(_required_column)]
OptionalColumn = Annotated[str | None, BeforeValidator(_column)]
OptionalNames = Annotated[Sequence[str] | None, BeforeValidator(_names)]


class AuditOptions(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    label: Column = "label"
    baseline: OptionalColumn = None
    compressed: OptionalNames = None
    by: Annotated[Sequence[str], BeforeValidator(_attributes)] = Field(default=None, validate_default=True)
    positive: Any = None
    decide: Annotated[Mapping[str, Any], BeforeValidator(_mapping)] = {}
    outcome: Annotated[OutcomeRequest | None, BeforeValidator(outcome_request)] = None
    margin: Annotated[Any, BeforeValidator(_margin)] = Field(default=None, validate_default=True)
    min_rows: Annotated[Any, BeforeValidator(min_rows_of)] = Field(default=None, validate_default=True)
    confidence: Annotated[float, BeforeValidator(checked_confidence)] = 0.95
    harm: Annotated[str, BeforeValidator(_harm)] = "error"
    metrics: Annotated[Sequence[str] | None, BeforeValidator(_judged_metrics)] = None
    weight: OptionalColumn = None
    subject: OptionalColumn = None
    seed_column: OptionalColumn = None
    row_id: str = "row_id"
    bins: Annotated[Mapping[str, Any], BeforeValidator(_mapping)] = {}
    missing: Annotated[str, BeforeValidator(_missing)] = "group"
    correction: Annotated[str, BeforeValidator(_correction)] = "westfall-young"
    family: Annotated[str, BeforeValidator(_family)] = "artifact"
    pairs: Annotated[Sequence[Any], BeforeValidator(_pairs)] = ()
    pairs_from: Any = None
    counterfactual: OptionalColumn = None
    policy: Annotated[Any, BeforeValidator(policy_of)] = None

    @model_validator(mode="before")
    @classmethod
    def _by_policy(cls, given: Any) -> Any:
        """Take from the policy what it fixes."""
        return with_policy(given) if isinstance(given, Mapping) else given

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
    fields, fixed = AuditOptions.model_fields, policy.options()
    given = {
        k: v for k, v in arguments.items() if k not in fixed or (v is not None and v != fields[k].default)
    }
    return AuditOptions(**{**given, "policy": policy})
