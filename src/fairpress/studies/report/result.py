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
    """The result of a study's run.

    Attributes
    ----------
    folder
        The folder of the report.
    sections, planned
        The audits with their headings, and the planned section of each.
    models
        Sizes of the models.
    bias
        The effect of compression on the bias of every part.
    warnings
        Warnings to show above every result.
    outcome, tasks
        Tasks that were reused, ran, failed or were skipped; key → task.
    tradeoff
        Size, accuracy and bias of all recipes, if the study requests it.
    claims
        The verdicts on its claims, as in claims.json.
    tables, source
        (Label of a part, its tables of rates), and the source of the published numbers in them.
    title, folds
        The study's title, and the number of folds of each seed.
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
    title: str = ""
    folds: int = 1
