"""The result of an audit for users: its verdict, gates and output formats."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import date
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from fairpress.auditing.result import Audit, Verdict
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.core.output import write_file
from fairpress.core.public_function import public_function

if TYPE_CHECKING:
    from fairpress.auditing.options import AuditOptions
    from fairpress.reporting.gate_report import GateReport

Arguments = ParamSpec("Arguments")


class AuditReport(Audit):
    """The result of an audit, with its verdict, gates and output formats."""

    @classmethod
    def of(cls, audit: Audit) -> AuditReport:
        """Return an audit with these methods."""
        return cls(**{name: getattr(audit, name) for name in Audit.__dataclass_fields__})

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict over all compressed models; None when there is none."""
        verdicts = {c.verdict for c in self.comparisons}
        return next((v for v in WORST_FIRST if v in verdicts), None)

    def failures(self, fail_on: str | Sequence[str] = "harm", require: str | Sequence[str] = ()) -> list[str]:
        """Return a sentence for each verdict that is named and given; an alarm, which passes what it does not know.

        To pass only what is shown to be acceptable, use `gate`.

        Parameters
        ----------
        fail_on
            ``"harm"`` (harm alone), ``"loss"`` (loss or harm), ``"inconclusive"``, ``"not-assessed"`` (some group lacks rows
            for some judged metric); several as a list or with commas. A void comparison fails under each of them.
        require
            Groups that must be assessed: ``"race=Black,sex=Female"``, ``"sex*race=Female,Black"``.

        Raises
        ------
        UserError
            A gate is unknown, a group is not in the table, or no compressed model is compared.
        """
        from fairpress.auditing.verdicts.gates import failures, gates_of, require_comparison, required_groups

        gates = gates_of(fail_on)
        required = [require] if isinstance(require, str) and require else list(require)
        if gates or required:
            require_comparison(self)
        return failures(self, gates, required_groups(required, self))

    def gate(self, policy: Any = None) -> GateReport:
        """Return whether the audit passes the gate: inconclusive is not a pass.

        Each model passes only if the upper bound of every required group is below the margin. Without a policy, every
        assessed group, every pool and all people together are required, at the margins of the audit.

        Parameters
        ----------
        policy
            The policy that the audit followed (``audit(…, policy=…)``), to check that it is this one; by default the one
            that the audit records.

        Raises
        ------
        UserError
            No compressed model is compared, or the audit followed another policy.
        """
        from fairpress.reporting.gate_report import GateReport

        return GateReport.of(self, policy)

    def __str__(self) -> str:
        """Return the audit as the command line prints it, without colours."""
        from fairpress.reporting.terminal import plain

        return plain(self)

    def to_text(self, *, width: int = 100, all_groups: bool = False) -> str:
        """Return what ``print`` shows, in lines of `width` characters at most; `all_groups` adds all groups and scores."""
        from fairpress.reporting.terminal import plain

        return plain(self, width, all_groups=all_groups)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as audit.json holds it."""
        from fairpress.auditing.output.audit_json import to_dict

        return to_dict(self)

    @public_function
    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str = "Audit",
        banner: str = "",
        force: bool = False,
    ) -> str:
        """Return the one-file report, and write it where a path is given.

        Raises UserError where the path cannot be written, or holds a file that fairpress did not write and `force` is false.
        """
        page = self._page(title, banner)
        if path is not None:
            write_file(path, page, kind=".html", force=force)
        return page

    @public_function
    def to_pdf(
        self,
        path: str | os.PathLike[str],
        *,
        title: str = "Audit",
        banner: str = "",
        force: bool = False,
    ) -> None:
        """Print the one-file report as PDF with the browser of this machine: Chromium, Chrome or Edge.

        Raises UserError where there is no such browser or it fails, and where the path cannot be written as in `to_html`.
        """
        from fairpress.reporting.pdf import find_browser, write_pdf

        write_pdf(self._page(title, banner), path, browser=find_browser(), force=force)

    def _page(self, title: str, banner: str) -> str:
        from fairpress.reporting.html import Section, render

        made_by = {k: str(v) for k, v in self.provenance.items()}
        today = date.today().isoformat()
        return render([Section(title, self)], title=title, banner=banner, made_by=made_by, date=today)

    @public_function
    def to_markdown(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> str:
        """Return the audit as Markdown for a pull request, and write it where a path is given, as `to_html` does."""
        from fairpress.reporting.markdown import render

        return _write_text(path, render(self), ".md", force)

    @public_function
    def to_latex(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> str:
        """Return the audit as LaTeX tables (booktabs), and write them where a path is given, as `to_html` does."""
        from fairpress.reporting.latex import render

        return _write_text(path, render(self), ".tex", force)

    def four_fifths(self, model: str) -> str:
        """Return the impact ratios of a model as Markdown tables; `metrics.impact_ratio` has the numbers."""
        from fairpress.auditing.metrics.impact_ratio import impact_ratios, selected
        from fairpress.reporting.markdown import escape, four_fifths

        tables = four_fifths(impact_ratios(self, model))
        return f"{escape(selected(self))}\n\n{tables}"


def with_report(audit: Callable[Arguments, Audit]) -> Callable[Arguments, AuditReport]:
    """Return a function with the same parameters as one that audits, whose result is an `AuditReport`."""

    @wraps(audit)
    def report(*args: Arguments.args, **kwargs: Arguments.kwargs) -> AuditReport:
        return AuditReport.of(audit(*args, **kwargs))

    return report


def scoring_ratios(table: Any, model: str, options: AuditOptions) -> str:
    """Return the impact ratios of the scoring rates of ``M.score`` as Markdown; empty without such a column.

    `table` is as in `audit`, or an open source.
    """
    from fairpress.auditing.cells.open_source import open_source
    from fairpress.auditing.metrics.impact_ratio import scoring_ratios_of
    from fairpress.reporting.markdown import four_fifths

    return four_fifths(scoring_ratios_of(open_source(table), model, options))


def _write_text(path: str | os.PathLike[str] | None, text: str, kind: str, force: bool) -> str:
    if path is not None:
        write_file(path, text, kind=kind, force=force)
    return text
