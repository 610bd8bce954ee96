"""Pytest fixtures: `fairpress_gate` passes only what is shown to be acceptable; `fairpress_audit` is an alarm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fairpress.api import AuditReport

_AUDITS = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def fairpress_gate(request: pytest.FixtureRequest) -> Callable[..., AuditReport]:
    """Return a function that audits a predictions table and fails the test unless it passes the gate.

    It takes what `fairpress.audit` takes, such as ``policy="fairpress-policy.yaml"``; `fairpress.AuditReport.gate` says what
    passes: inconclusive does not. It returns the report; the gate's Markdown is shown in pytest's summary.
    """

    def check(table: Any, **options: Any) -> AuditReport:
        from fairpress.api import audit
        from fairpress.core.errors import UserError

        try:
            report = audit(table, **options)
            gate = report.gate()
        except UserError as error:
            pytest.fail(f"fairpress: {error}", pytrace=False)
        request.config.stash.setdefault(_AUDITS, []).append((request.node.nodeid, gate.to_markdown()))
        if not gate.passed:
            pytest.fail(f"fairpress {gate}", pytrace=False)
        return report

    return check


@pytest.fixture
def fairpress_audit(request: pytest.FixtureRequest) -> Callable[..., AuditReport]:
    """Return a function that audits a predictions table and fails the test when the verdict is a failing one.

    It takes what `fairpress.audit` takes, and ``fail_on``: ``"harm"`` (harm alone), ``"loss"`` (loss or harm),
    ``"inconclusive"``, ``"not-assessed"`` (some group lacks rows), several with commas, or ``""`` to look only; a void
    comparison fails under each of them. ``"harm"`` alone is an alarm, which passes what it does not know: `fairpress_gate`
    does not. ``require`` names groups that must be assessed, as in
    `fairpress.AuditReport.failures`. It returns the report; its Markdown is shown in pytest's summary.
    """

    def check(
        table: Any, *, fail_on: str = "harm", require: str | Sequence[str] = (), **options: Any
    ) -> AuditReport:
        from fairpress.api import audit
        from fairpress.auditing.verdicts.gates import gates_of
        from fairpress.core.errors import UserError
        from fairpress.reporting.formatting import verdict_line
        from fairpress.reporting.markdown import render
        from fairpress.reporting.sentences import who_pays

        try:
            gates_of(fail_on)
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
        try:
            report = audit(table, **options)
            reasons = report.failures(fail_on, require)
        except UserError as error:
            pytest.fail(f"fairpress: {error}", pytrace=False)
        text = render(report)
        request.config.stash.setdefault(_AUDITS, []).append((request.node.nodeid, text))
        if reasons:
            summaries = [
                f"{c.compressed}: {verdict_line(c)}. {c.headline} {who_pays(c, report)}"
                for c in report.comparisons
            ]
            pytest.fail("fairpress audit:\n" + "\n".join([*summaries, *reasons, "", text]), pytrace=False)
        return report

    return check


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print each audit's Markdown below the results, with ``pytest -v`` only."""
    audits = config.stash.get(_AUDITS, [])
    if audits and config.get_verbosity() > 0:
        terminalreporter.section("fairpress audits")
        for node, text in audits:
            terminalreporter.write_line(node)
            terminalreporter.write_line(text)
