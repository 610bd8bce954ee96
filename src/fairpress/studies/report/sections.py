"""The sections of a study's report, and the sentences that introduce them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fairpress.auditing.result import Audit
from fairpress.reporting.formatting import format_points, format_rate
from fairpress.reporting.html import Section
from fairpress.studies.planning.report_plan import ReportSection


def report_sections(
    planned: Sequence[ReportSection],
    audits: Sequence[Audit],
    sizes: Mapping[tuple[str, str], float],
) -> tuple[Section, ...]:
    """Return the sections of a report; those of the first screen also have each recipe's audit against its placebo.

    `sizes` maps (part, model) to bytes.
    """
    placebos: dict[str, dict[str, Audit]] = {}
    for p, audit in zip(planned, audits, strict=True):
        if p.about == "placebo":
            placebos.setdefault(p.part.label, {}).update({c.compressed: audit for c in audit.comparisons})
    sections = []
    for p, audit in zip(planned, audits, strict=True):
        section = Section(p.title, audit, introduction(p, audit), p.part.label)
        if p.about == "compressed":
            recipes = {c.compressed for c in audit.comparisons}
            controls = {name: a for name, a in placebos.get(p.part.label, {}).items() if name in recipes}
            part_sizes = {model: size for (part, model), size in sizes.items() if part == p.part.label}
            section = replace(section, first=True, placebos=controls, sizes=part_sizes)
        sections.append(section)
    return tuple(sections)


def introduction(planned: ReportSection, audit: Audit) -> str:
    """Return the introduction of a section; with two baselines, also the loss of one relative to the other."""
    if planned.is_compression:
        return planned.intro
    return " ".join([planned.intro, *(f"{sentence}." for sentence in accuracies(audit))])


def accuracies(audit: Audit) -> list[str]:
    """Return sentences on the accuracy of each model of an audit, and on its loss relative to the baseline."""
    rates = [f"Accuracy of {m.name}: {format_rate(m.overall.rates['accuracy'])}" for m in audit.models]
    lost = [
        f"Points lost by {c.compressed} against {audit.baseline}: {format_points(loss.estimate)}"
        for c in audit.comparisons
        for loss in c.overall.losses
        if loss.metric == "accuracy"
    ]
    return rates + lost
