"""`fairpress gate`: whether a release passes a signed policy, in ten lines and by its exit code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from fairpress.cli.app import app, split_list, write_output
from fairpress.cli.exit_codes import GATE_FAILED
from fairpress.cli.usage_errors import in_options
from fairpress.cli.written import print_files, print_written, written_files
from fairpress.core.errors import UserError
from fairpress.core.output import check_apart, check_files

if TYPE_CHECKING:
    from fairpress.auditing.result import Audit
    from fairpress.reporting.audit_report import AuditReport

_FLAG = Parameter(negative="", show_default=False)


@app.command
def gate(
    table: str,
    /,
    *,
    policy: Path,
    baseline: str | None = None,
    compressed: Annotated[str, Parameter(show_default=False)] = "",
    label: str | None = None,
    positive: str | None = None,
    markdown: Path | None = None,
    force: Annotated[bool, _FLAG] = False,
    json_: Annotated[bool, Parameter("--json", negative="", show_default=False)] = False,
) -> int:
    """Pass a release only if no required group is shown or suspected to lose more than a signed policy accepts.

    Example: fairpress gate preds.parquet --policy fairpress-policy.yaml --baseline fp32 --compressed int8

    For every compressed model, the upper bound of the error that decides must be below its margin in every required group:
    inconclusive is not a pass. A required group with too few rows fails, a void comparison and a harm in any error too.
    Exits with 0 if all pass, with 1 if one fails, with 2 if the input is wrong.

    Parameters
    ----------
    table
        A table of predictions (Parquet or CSV), as of `fairpress audit`, which has more options.
    policy
        The policy, a YAML file that is checked in: harm, margins with their reasons, by, require, signed.
    baseline
        Column of the model before compression, if the policy does not name it.
    compressed
        Columns of the compressed models, comma-separated, if the policy does not name them.
    label
        Column of the true classes, if the policy does not name it (label).
    positive
        The positive class, if the policy does not name it; by default as in `fairpress audit`.
    markdown
        Write a comment for a pull request here, of ten lines.
    force
        Replace a file that fairpress did not write.
    json_
        Print the gate as JSON.
    """
    from fairpress.auditing.audit_table import audit_table
    from fairpress.auditing.options import AuditOptions
    from fairpress.auditing.table_metadata import recorded_outcome
    from fairpress.auditing.verdicts.policy import read_policy
    from fairpress.reporting.audit_report import AuditReport
    from fairpress.reporting.gate_text import warning_lines

    check_apart({"--markdown": markdown}, inputs=written_files([table, str(policy)]))
    check_files({"--markdown": markdown}, kinds={"--markdown": ".md"}, force=force)
    signed = read_policy(policy)
    given: dict[str, Any] = {
        "baseline": baseline,
        "compressed": split_list(compressed) or None,
        "label": label,
        "positive": positive,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if signed.outcome is None and (outcome := recorded_outcome(table)) is not None:
        raise UserError(
            f"{table} records the outcome {outcome!r}, and the policy is about classes; write the outcome into the policy."
        )
    report = AuditReport.of(audit_table(table, AuditOptions(policy=signed, **chosen)))
    if not report.comparisons:
        raise UserError(
            "the gate needs a compressed model; name it with --compressed, such as --compressed int8."
        )
    result = report.gate()
    if markdown is not None:
        result.to_markdown(markdown, force=force)
    for line in warning_lines(report):
        print_written(in_options(line, ("--positive",)), True)
    write_output(json.dumps(result.to_dict(), indent=1, allow_nan=False) if json_ else str(result))
    if markdown is not None:
        print_files([markdown], True)
    return 0 if result.passed else GATE_FAILED


def gate_line(report: Audit, gates: Sequence[str], failed: bool) -> str:
    """Return what the gates of an audit's command did, or without any what `--fail-on harm` would do."""
    from fairpress.auditing.verdicts.gates import failures

    if gates:
        return f"Gate: --fail-on {','.join(gates)} {'failed' if failed else 'passed'}."
    return f"Gate: --fail-on harm would exit with {GATE_FAILED if failures(report, ['harm']) else 0}."


def show_gate(report: AuditReport) -> bool:
    """Print the gate of an audit on standard error, and return whether it passes."""
    result = report.gate()
    for line in str(result).splitlines():
        print_written(line, True)
    return result.passed
