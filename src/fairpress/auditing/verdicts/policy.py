"""A project's policy for releases, "fairpress.policy/1": what harms, how much is accepted, for whom, and who signed it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from fairpress.auditing.outcome import outcome_request
from fairpress.auditing.result import PolicyRecord
from fairpress.auditing.verdicts.margins import margins_of, min_rows_of
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.core.canonical_json import digest
from fairpress.core.config import parse, read_yaml
from fairpress.core.errors import UserError

SCHEMA = "fairpress.policy/1"
ALL_ASSESSED = "all-assessed"
"""`require`: every group that has enough rows, every pool and all people."""
_FIXED = {"min_rows": None, "metrics": None}
"""Options that a policy without them sets to their defaults."""


def _sentence(convert: Callable[..., Any]) -> BeforeValidator:
    """Return a validator whose UserError becomes an error with the line of the file."""

    def validate(given: Any, info: ValidationInfo) -> Any:
        try:
            return convert(given, info) if convert is _margins else convert(given)
        except UserError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(validate)


def _names(given: Any) -> Any:
    names = (
        (given,)
        if isinstance(given, str)
        else tuple(given or ())
        if isinstance(given, (list, tuple))
        else None
    )
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError("must be one or several names")
    return names


def _outcome(given: Any) -> str | None:
    request = outcome_request(given)
    return None if request is None else str(request)


def _margins(given: Any, info: ValidationInfo) -> Any:
    """Return margins by error; those of an outcome stay as they are written, since the audit knows its unit."""
    if info.data.get("outcome") is None:
        return margins_of(given)
    written = given.values() if isinstance(given, Mapping) else [given]
    if not written or not all(isinstance(x, (int, float, str, Mapping)) for x in written):
        raise UserError("must be a number in the unit of the outcome, or one for each of its metrics")
    return (
        given if isinstance(given, Mapping) and not {"margin", "value"} & set(given) else {"default": given}
    )


def _required(given: Any) -> Any:
    if given == ALL_ASSESSED:
        return given
    if given in ([], (), "", None):
        raise UserError(f"requires nothing; name groups such as race=Black, or write {ALL_ASSESSED}")
    return _names(given)


class Signature(BaseModel):
    """Who signed a policy, when, and why these margins are acceptable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    date: str
    reason: Annotated[str, Field(min_length=1)]

    @field_validator("date")
    @classmethod
    def _iso_date(cls, text: str) -> str:
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            raise ValueError(f"must be a date such as 2025-01-31, not {text!r}") from None


class Policy(BaseModel):
    """A policy: every key is checked, and an unknown one is refused with its line.

    Attributes
    ----------
    outcome
        What is judged instead of a class, such as ``abs_error=age``; `harm` is then left out, and margins are in its unit.
    harm
        The error that decides: ``error``, ``fnr`` or ``fpr``.
    margins
        Margin by error, with its reason; ``"default"`` is that of the errors that are not named.
    by
        Sensitive attributes and intersections.
    require
        Groups that must be cleared, as `gates.required_groups` reads them, or ``"all-assessed"``.
    min_people_cleared
        Share of the people for whom a loss above the margin must be ruled out; None: no such condition.
    min_rows
        Rows that a group needs to be assessed, by error; empty: those that the margin asks for.
    confidence, correction, baseline, compressed, label, positive, weight, subject
        As in `audit.audit`; None leaves the choice to who runs the audit.
    signed
        Who signed it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    as_written: ClassVar[bool] = True

    schema_: Annotated[Literal["fairpress.policy/1"], Field(alias="schema")]
    outcome: Annotated[str | None, _sentence(_outcome)] = None
    harm: Literal["error", "fnr", "fpr"]
    margins: Annotated[dict[str, Any], _sentence(_margins)]
    by: Annotated[tuple[str, ...], _sentence(_names)]
    require: Annotated[str | tuple[str, ...], _sentence(_required)] = ALL_ASSESSED
    min_people_cleared: Annotated[float, Field(gt=0, le=1)] | None = None
    min_rows: Annotated[dict[str, int], _sentence(min_rows_of)] = {}
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    correction: str = "westfall-young"
    baseline: str | None = None
    compressed: Annotated[tuple[str, ...], _sentence(_names)] | None = None
    label: str | None = None
    positive: str | None = None
    weight: str | None = None
    subject: str | None = None
    signed: Signature

    @model_validator(mode="before")
    @classmethod
    def _harm_of_outcome(cls, content: Any) -> Any:
        """Leave `harm` out of a policy about an outcome."""
        return {"harm": "error", **content} if isinstance(content, dict) and "outcome" in content else content

    @field_validator("correction")
    @classmethod
    def _known_correction(cls, name: str) -> str:
        if name not in CORRECTIONS:
            raise ValueError(f"must be one of {', '.join(CORRECTIONS)}, not {name!r}")
        return name

    @property
    def required(self) -> tuple[str, ...]:
        """The groups that must be cleared, as text; empty if they are all that are assessed."""
        return () if isinstance(self.require, str) else self.require

    def options(self) -> dict[str, Any]:
        """Return the options of an audit that the policy fixes; those that it leaves open are not among them."""
        names = ("outcome", "baseline", "compressed", "label", "positive", "weight", "subject")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        fixed = {
            "by": self.by,
            "margin": self.margins,
            "harm": self.harm,
            "confidence": self.confidence,
            "correction": self.correction,
        }
        return {**_FIXED, **fixed, **chosen, **({"min_rows": self.min_rows} if self.min_rows else {})}

    def record(self) -> PolicyRecord:
        """Return what an audit records of the policy: its content, the digest of it, and who signed it when."""
        content = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return PolicyRecord(content, digest(content), self.signed.name, self.signed.date)


def read_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a policy from a YAML file.

    Raises
    ------
    UserError
        The file cannot be read, or is not a policy: one line for each problem, with file, line, column and remedy.
    """
    return parse(Policy, read_yaml(Path(path)), os.fspath(path))
