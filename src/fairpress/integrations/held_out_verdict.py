"""The verdict on a candidate that a loop chose, on rows that the loop has not read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.auditing.audit_table import audit_table
from fairpress.auditing.monitoring.evidence import MonitoredRelease
from fairpress.auditing.monitoring.evidence import sentences as sentences_of_release
from fairpress.auditing.monitoring.record import record
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.result import Verdict
from fairpress.reporting.audit_report import AuditReport

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class HeldOutVerdict:
    """The verdict on one candidate.

    Attributes
    ----------
    name
        What the candidate is called.
    report
        The audit on the rows of the verdict, with every output format.
    number
        Which candidate of the guard these rows judge: 1 is the first.
    seen_by_loop
        How many times the loop had evaluated a candidate on its rows before.
    release
        What the ledger shows, at any number of looks and for all candidates together; None without a ledger.
    sentences
        How often these rows have been used, and what follows.
    """

    name: str
    report: AuditReport
    number: int
    seen_by_loop: int
    release: MonitoredRelease | None
    sentences: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict of the ledger if there is one, else that of the audit."""
        return self.report.comparisons[0].verdict if self.release is None else self.release.verdict

    @property
    def passed(self) -> bool:
        """Whether no harm is shown for every assessed group and pool: inconclusive is not a pass (`AuditReport.gate`)."""
        return self.report.gate().passed and (self.release is None or self.release.verdict == "no_harm")

    def __str__(self) -> str:
        alone = "" if self.release is None else ", by this look alone"
        return "\n".join((f"{self.name}{alone}: {self.report.comparisons[0].headline}", *self.sentences))


def judge_held_out(
    table: pa.Table,
    options: AuditOptions,
    *,
    number: int,
    seen_by_loop: int,
    ledger: Path | None,
) -> HeldOutVerdict:
    """Audit the only compressed model of a table, and record the look where there is a ledger.

    Parameters
    ----------
    table, options
        The rows with the candidate's predictions, and the options of the audit.
    number, seen_by_loop
        As in `HeldOutVerdict`.
    ledger
        The path of the ledger; None for none.

    Raises
    ------
    UserError
        The ledger is damaged or of another audit.
    """
    (name,) = options.compressed or ()
    audit = audit_table(table, options)
    note = (
        f"The loop evaluated its candidates {seen_by_loop:,} {_plural(seen_by_loop, 'time')}, on other rows; none of that "
        f"read the {audit.rows:,} rows of this verdict."
    )
    release: MonitoredRelease | None = None
    remarks: tuple[str, ...] = (note,)
    if ledger is not None:
        recorded, releases = record(audit, table, ledger, bins=options.bins, missing=options.missing)
        (release,) = releases
        remarks = (note, *sentences_of_release(recorded, release))
    elif number > 1:
        remarks = (_further_look(number, options), note)
    warnings = remarks[:1] if release is None and number > 1 else ()
    report = AuditReport.of(
        replace(audit, warnings=(*warnings, *audit.warnings), notes=(*remarks[len(warnings) :], *audit.notes))
    )
    return HeldOutVerdict(name, report, number, seen_by_loop, release, remarks)


def _further_look(number: int, options: AuditOptions) -> str:
    alpha = 1 - options.confidence
    return (
        f"These rows have now judged {number} candidates: each verdict alone errs in at most {100 * alpha:.2g} % of such "
        f"samples, all together in up to {100 * min(1.0, number * alpha):.2g} %, and a candidate that was changed after an "
        "earlier verdict was read in more; judge by fresh rows, or record all looks with `ledger=`."
    )


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
