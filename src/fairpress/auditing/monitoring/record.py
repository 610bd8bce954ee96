"""Record an audit in the ledger of its test set, and return what the ledger then shows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.monitoring.evidence import MonitoredRelease, evidence
from fairpress.auditing.monitoring.ledger import (
    Ledger,
    Terms,
    Use,
    append,
    from_document,
    require_terms,
    to_json,
)
from fairpress.auditing.monitoring.uses import group_counts, row_digests
from fairpress.auditing.result import Audit
from fairpress.core.attribute import Attribute
from fairpress.core.errors import UserError
from fairpress.core.files import locked, resolve_path
from fairpress.core.json_file import read_json
from fairpress.core.output import write_file


def record(
    audit: Audit,
    table: Any,
    path: str | os.PathLike[str],
    *,
    decide: Mapping[str, str] | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    now: datetime | None = None,
) -> tuple[Ledger, list[MonitoredRelease]]:
    """Append an audit to the ledger at a path, which is created if there is none, and return it with the audited releases.

    Parameters
    ----------
    audit, table
        The audit, and the table it is of.
    decide, bins, missing
        Those of the audit (`auditing.audit.audit`).
    now
        The time of this use; by default the clock's.

    Raises
    ------
    UserError
        The rows are weighted, repeated or predicted under several seeds, so that they are not independent; the ledger is of
        another audit, damaged, or has rows that this table lacks. The ledger is then unchanged.
    """
    require_monitored(audit)
    source = open_source(table)
    names = [c.compressed for c in audit.comparisons]
    cells = count(
        source,
        label=audit.label,
        models=[audit.baseline, *names],
        by=tuple(map(Attribute.from_text, audit.attributes)),
        positive=audit.positive,
        decide=decide,
        bins=bins,
        missing=missing,
    )
    terms = Terms(
        audit.baseline,
        audit.label,
        audit.positive,
        audit.margin,
        audit.confidence,
        audit.attributes,
        audit.metrics,
    )
    date = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(resolve_path(target.parent)):
        ledger = read_ledger(target) if target.exists() else Ledger(terms)
        require_terms(ledger, terms, str(target))
        for name in names:
            use = Use(
                date=date,
                release=name,
                model=next(m.digest for m in audit.models if m.name == name),
                table=str(audit.provenance.get("table", source.name)),
                rows=audit.rows,
                content=None,
                test_rows=None,
                earlier_rows=None,
                groups=group_counts(cells, audit.baseline, name, audit.attributes, audit.metrics),
            )
            ledger = append(ledger, _with_digests(use, ledger, source, audit, decide or {}), str(target))
        write_file(target, to_json(ledger), kind=".json")
    releases = evidence(ledger)
    audited = [use.identity for use in ledger.uses[-len(names) :]]
    return ledger, [r for r in releases if r.looks[-1].identity in audited]


def require_monitored(audit: Audit) -> None:
    """Raise UserError where the rows of an audit are not independent, or no compressed model is compared."""
    problem = (
        "people with several rows (`subject=`)"
        if audit.subjects is not None
        else "runs of several seeds (`seed_column=`)"
        if audit.seeds is not None
        else "weighted rows (`weight=`)"
        if audit.weight is not None
        else "outcomes other than classes (`outcome=`)"
        if audit.outcome is not None
        else None
    )
    if problem is not None:
        raise UserError(
            f"`monitor=` needs rows that are independent and count once, and cannot take {problem}; audit without it."
        )
    if len(set(audit.margins.values())) > 1 or any(m.relative for m in audit.margins.values()):
        raise UserError(
            "`monitor=` needs one absolute margin for all errors, such as `margin=0.02`; audit without it."
        )
    if not audit.comparisons:
        raise UserError(
            "`monitor=` records comparisons, and no compressed model is compared; name one with `compressed=`."
        )


def read_ledger(path: Path) -> Ledger:
    """Return the ledger in a file; raise UserError where it is not one, or is damaged."""
    document = read_json(
        path, "a ledger", remedy="take it from a backup, because a new ledger does not know the earlier looks"
    )
    return from_document(document, str(path))


def _with_digests(use: Use, ledger: Ledger, source: Any, audit: Audit, decide: Mapping[str, str]) -> Use:
    previous = ledger.last_of(use)
    content, first, test_rows = row_digests(
        source,
        label=audit.label,
        models=[audit.baseline, use.release],
        by=audit.attributes,
        decide={m: d for m, d in decide.items() if m in (audit.baseline, use.release)},
        first=previous.rows if previous is not None else 0,
    )
    same = None if previous is None else first is not None and first == previous.content
    return replace(use, content=content, test_rows=test_rows, earlier_rows=same)
