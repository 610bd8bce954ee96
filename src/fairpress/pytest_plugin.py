"""A pytest fixture that gates on an audit: ``def test_int8(fairpress_audit): fairpress_audit("preds.parquet", …)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fairpress.api import AuditReport

FAILING = {"harm": {"harm", "loss"}, "inconclusive": {"inconclusive"}, "not_estimable": {"not_estimable"}}
_AUDITS = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def fairpress_audit(request: pytest.FixtureRequest) -> Callable[..., AuditReport]:
    """Return a function that audits a predictions table and fails the test when the verdict is a failing one.

    It takes what `fairpress.audit` takes, and ``fail_on``: ``"harm"`` (which includes a shown loss), ``"inconclusive"``,
    ``"not_estimable"``, several with commas, or ``""`` to look only. It returns the report; its Markdown is shown in
    pytest's summary.
    """

    def check(table: Any, *, fail_on: str = "harm", **options: Any) -> AuditReport:
        from fairpress.api import audit
        from fairpress.core.errors import UserError
        from fairpress.reporting.markdown import render
        from fairpress.reporting.words import WORD, who_pays

        gates = [g.strip() for g in fail_on.split(",") if g.strip()]
        strange = [g for g in gates if g not in FAILING]
        if strange:
            raise pytest.UsageError(f"fail_on takes {', '.join(FAILING)}, not {strange[0]!r}.")
        try:
            report = audit(table, **options)
        except UserError as error:
            pytest.fail(f"fairpress: {error}", pytrace=False)
        text = render(report)
        request.config.stash.setdefault(_AUDITS, []).append((request.node.nodeid, text))
        failing = set().union(*(FAILING[g] for g in gates))
        found = [c for c in report.comparisons if c.verdict in failing]
        if found:
            reasons = "\n".join(f"{c.compressed}: {WORD[c.verdict]}. {who_pays(c)}" for c in found)
            pytest.fail(f"fairpress audit:\n{reasons}\n\n{text}", pytrace=False)
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
