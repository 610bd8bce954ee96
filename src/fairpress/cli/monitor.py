"""`fairpress audit --monitor`: record the audit in a ledger and print what it shows at any number of looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.cli.app import print_line
from fairpress.cli.written import print_written

if TYPE_CHECKING:
    from fairpress.auditing.monitoring.evidence import MonitoredRelease
    from fairpress.auditing.monitoring.ledger import Ledger
    from fairpress.auditing.options import AuditOptions
    from fairpress.auditing.result import Audit
    from fairpress.reporting.audit_report import AuditReport

_FAILS = {
    "harm": ("harm",),
    "loss": ("harm", "loss"),
    "inconclusive": ("inconclusive",),
    "not-assessed": ("not_estimable",),
}


def say_where_looks_count(report: AuditReport, ledger: Path | None) -> AuditReport:
    """With a ledger, replace the advice to keep one by a note on which verdicts hold at every look."""
    from fairpress.auditing.notes import ONE_LOOK

    if ledger is None:
        return report
    note = f"The verdicts of this audit are for one look; those of the ledger {ledger.name} hold at any number of looks."
    return replace(report, notes=(*(n for n in report.notes if n != ONE_LOOK), note))


def record_use(
    report: Audit, table: Any, ledger: Path | None, options: AuditOptions
) -> tuple[Ledger, list[MonitoredRelease]] | None:
    """Record an audit in a ledger before anything else is written; None without a ledger.

    `options` are those of the audit that say how rows are counted.
    """
    if ledger is None:
        return None
    from fairpress.auditing.monitoring.record import record

    return record(report, table, ledger, decide=options.decide, bins=options.bins, missing=options.missing)


def show_monitored(
    recorded: tuple[Ledger, list[MonitoredRelease]] | None,
    path: Path | None,
    gates: Sequence[str],
    aside: bool,
) -> list[str]:
    """Print what the ledger shows about each release (on standard error if `aside`), and return why it fails the gates."""
    if recorded is None:
        return []
    from fairpress.auditing.monitoring.evidence import sentences

    ledger, releases = recorded
    reasons = []
    for release in releases:
        first, *others = sentences(ledger, release)
        print_written(f"\n{first}", aside)
        if not aside:
            print_line(_table(release))
            others.insert(
                0,
                "e-value: the largest so far against a loss of the margin; "
                f"{math.exp(release.groups[0].needed):,.0f} clears. Lost, gained: right answers. "
                "At most: points of loss that are not ruled out.",
            )
        for line in others:
            print_written(line, aside)
        if any(release.verdict in _FAILS.get(gate, ()) for gate in gates):
            reasons.append(f"{release.name}, monitored: {release.verdict.replace('_', ' ')}.")
    uses = "1 use" if len(ledger.uses) == 1 else f"{len(ledger.uses):,} uses"
    print_written(f"Written: {path}, which records {uses} of this test set", aside)
    return reasons


def _table(release: MonitoredRelease) -> Any:
    from rich.table import Table

    from fairpress.auditing.verdicts.wording import group_name
    from fairpress.reporting.compared_audits import e_value
    from fairpress.reporting.formatting import SYMBOL, WORD

    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("group", overflow="fold")
    for column in ("metric", "rows", "lost", "gained", "e-value", "at most", "at any look"):
        table.add_column(
            column, justify="left" if column in ("metric", "at any look") else "right", no_wrap=True
        )
    for g in release.groups:
        upper = f"{100 * g.upper:.1f}" if g.upper < 1 else "–"
        counts = (f"{x:,.0f}" for x in (g.count.n, g.count.lost, g.count.gained))
        verdict = f"{SYMBOL[g.verdict]} {WORD[g.verdict]}"
        table.add_row(
            group_name(g.count.values), g.count.metric, *counts, e_value(g.log_e_largest), upper, verdict
        )
    return table
