"""The ledger of a test set: every audit that looked at it, as JSON ("fairpress.ledger/1").

A later look at a release must contain the earlier one: no count may shrink, and where the rows are in order, the first rows
must be the earlier ones, unchanged. What cannot be verified is reported, not assumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fairpress.auditing.result import Values
from fairpress.auditing.statistics.e_process import log_e_no_harm
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.errors import UserError, listed

SCHEMA = "fairpress.ledger/1"
TERMS = ("baseline", "label", "positive", "margin", "confidence", "attributes", "metrics")
"""What all audits of one ledger share."""


@dataclass(frozen=True)
class Terms:
    """What was fixed before the first look; attributes are those of `result.Audit`."""

    baseline: str
    label: str
    positive: str | None
    margin: float
    confidence: float
    attributes: tuple[str, ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class GroupCount:
    """Rows of a group, in a metric's denominator, that lost and that gained a right answer, since the first row."""

    attribute: str
    values: Values
    metric: str
    lost: float
    gained: float
    n: float

    @property
    def key(self) -> tuple[str, str, str]:
        return self.attribute, json.dumps(dict(self.values), sort_keys=True), self.metric


@dataclass(frozen=True)
class Use:
    """One audit of one release.

    Attributes
    ----------
    date
        UTC, ISO 8601.
    release
        The compressed model's name.
    model
        Digest of its file where the table records it, else None: the release is then known by its name.
    table
        The table's path or address, as text.
    rows
        Rows of the table.
    content, test_rows
        sha256 of all rows in order, with the predictions and without them; None where rows have no order.
    earlier_rows
        Whether the first rows were found to be those of the release's previous look: None for a first look.
    groups
        The counts.
    """

    date: str
    release: str
    model: str | None
    table: str
    rows: int
    content: str | None
    test_rows: str | None
    earlier_rows: bool | None
    groups: tuple[GroupCount, ...]

    @property
    def identity(self) -> tuple[str, str]:
        return ("digest", self.model) if self.model is not None else ("name", self.release)


@dataclass(frozen=True)
class Ledger:
    """The terms of a ledger and its uses, oldest first."""

    terms: Terms
    uses: tuple[Use, ...] = ()

    def releases(self) -> list[tuple[Use, ...]]:
        """Return the uses of each release, in the order of their first look."""
        by_release: dict[tuple[str, str], list[Use]] = {}
        for use in self.uses:
            by_release.setdefault(use.identity, []).append(use)
        return [tuple(uses) for uses in by_release.values()]

    def last_of(self, use: Use) -> Use | None:
        """Return the previous look at the same release."""
        return next((u for u in reversed(self.uses) if u.identity == use.identity), None)


def append(ledger: Ledger, use: Use, name: str = "the ledger") -> Ledger:
    """Return the ledger with one more use.

    Raises
    ------
    UserError
        A count is smaller than at the previous look at this release, so that its rows cannot be among these. The message
        names the group.
    """
    previous = ledger.last_of(use)
    if previous is not None:
        now = {g.key: g for g in use.groups}
        for before in previous.groups:
            after = now.get(before.key)
            if after is None or not _contains(after, before):
                rows = 0 if after is None else after.n
                raise UserError(
                    f"{name}: the rows of the last look at {use.release} are not all in this table: "
                    f"{group_name(before.values)} ({before.metric}) then had {before.n:,.0f} rows, "
                    f"{before.lost:,.0f} lost and {before.gained:,.0f} gained, and now has {rows:,.0f}"
                    + (f", {after.lost:,.0f} and {after.gained:,.0f}" if after is not None else "")
                    + "; add the new rows to the old ones, or start another ledger for other rows."
                )
    return replace(ledger, uses=(*ledger.uses, use))


def _contains(after: GroupCount, before: GroupCount) -> bool:
    kept_before, kept = (g.n - g.lost - g.gained for g in (before, after))
    return after.lost >= before.lost and after.gained >= before.gained and kept >= kept_before


def require_terms(ledger: Ledger, terms: Terms, name: str) -> None:
    """Raise UserError where an audit has other terms than the ledger: evidence under other terms does not add up."""
    for field in TERMS:
        before, now = getattr(ledger.terms, field), getattr(terms, field)
        if before != now:
            raise UserError(
                f"{name} belongs to another audit: its {_TITLES.get(field, field)} {_text(before)}, "
                f"and this audit's {_text(now)}; audit with the same options, or start another ledger."
            )


_TITLES = {
    "baseline": "baseline is",
    "label": "label is",
    "positive": "positive class is",
    "margin": "margin is",
    "confidence": "confidence is",
    "attributes": "groups are by",
    "metrics": "metrics are",
}


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return listed([str(v) for v in value])
    return f"{value:g}" if isinstance(value, float) else str(value)


def to_json(ledger: Ledger) -> str:
    """Return the ledger as JSON text; each group's e-value (`log_e`) is written for readers, and follows from its counts."""
    uses = [asdict(use) for use in ledger.uses]
    for use in uses:
        for group in use["groups"]:
            counts = group["lost"], group["gained"], group["n"]
            group["log_e"] = float(log_e_no_harm(*counts, ledger.terms.margin))
    document = {"schema": SCHEMA, **asdict(ledger.terms), "uses": uses}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def from_document(document: Any, name: str) -> Ledger:
    """Return the ledger of a JSON document; raise UserError where it is not one."""
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise UserError(
            f"{name} is not a ledger of fairpress ({SCHEMA}); name another file for a new ledger."
        )
    try:
        terms = Terms(
            baseline=_as(str, document["baseline"]),
            label=_as(str, document["label"]),
            positive=None if document["positive"] is None else _as(str, document["positive"]),
            margin=_number(document["margin"]),
            confidence=_number(document["confidence"]),
            attributes=tuple(_as(str, a) for a in _as(list, document["attributes"])),
            metrics=tuple(_as(str, m) for m in _as(list, document["metrics"])),
        )
        uses = tuple(_use(_as(dict, u)) for u in _as(list, document["uses"]))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{name} is damaged ({_cause(error)}); take it from a backup, because a new ledger does not know "
            "the earlier looks."
        ) from None
    return Ledger(terms, uses)


def _cause(error: Exception) -> str:
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)


def _use(entry: Mapping[str, Any]) -> Use:
    digests = {k: None if entry[k] is None else _as(str, entry[k]) for k in ("model", "content", "test_rows")}
    if entry["earlier_rows"] is not None:
        _as(bool, entry["earlier_rows"])
    return Use(
        date=_as(str, entry["date"]),
        release=_as(str, entry["release"]),
        table=_as(str, entry["table"]),
        rows=int(_number(entry["rows"])),
        earlier_rows=entry["earlier_rows"],
        groups=tuple(_group(_as(dict, g)) for g in _as(list, entry["groups"])),
        **digests,
    )


def _group(entry: Mapping[str, Any]) -> GroupCount:
    values = {_as(str, k): _as(str, v) for k, v in _as(dict, entry["values"]).items()}
    lost, gained, n = (_number(entry[k]) for k in ("lost", "gained", "n"))
    if min(lost, gained) < 0 or lost + gained > n:
        raise TypeError(f"{lost:g} lost and {gained:g} gained of {n:g} rows")
    return GroupCount(_as(str, entry["attribute"]), values, _as(str, entry["metric"]), lost, gained, n)


def _as(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{str(value)[:40]!r} where {_KINDS[kind]} is expected")
    return value


_KINDS = {str: "text", list: "a list", dict: "an object", bool: "true or false"}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:40]!r} where a number is expected")
    return float(value)
