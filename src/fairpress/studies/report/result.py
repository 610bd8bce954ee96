"""A finished study as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairpress.reporting.html import ModelFacts, Section
from fairpress.reporting.paper_tables import RatesTable
from fairpress.reporting.tradeoff import Tradeoff
from fairpress.studies.analysis.bias_findings import BiasFinding
from fairpress.studies.execution.executor import Outcome
from fairpress.studies.planning.plan import StudyTask
from fairpress.studies.planning.report_plan import ReportSection


@dataclass(frozen=True)
class StudyResult:
    """A study that ran.

    Attributes
    ----------
    folder
        Where its report is.
    sections
        Its audits with their headings, and `about` what each of them is.
    models
        Sizes.
    bias
        What compression did to the bias of every part.
    warnings
        What must stand above every result.
    outcome, tasks
        What was reused, ran, failed and was skipped; key → task.
    tradeoff
        Size, accuracy and bias of all recipes, where the study asks for it.
    claims
        The answers to its claims, as claims.json holds them.
    tables, source
        Label of a part → its tables of rates, and whose numbers stand beside ours.
    """

    folder: Path
    sections: tuple[Section, ...]
    planned: tuple[ReportSection, ...]
    models: tuple[ModelFacts, ...]
    bias: tuple[BiasFinding, ...]
    warnings: tuple[str, ...]
    outcome: Outcome
    tasks: Mapping[str, StudyTask]
    tradeoff: Tradeoff | None = None
    claims: Sequence[Mapping[str, Any]] = ()
    tables: Sequence[tuple[str, Sequence[RatesTable]]] = ()
    source: Mapping[str, Any] | None = None
