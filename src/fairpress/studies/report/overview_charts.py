"""The overview charts of a study's report, over all of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fairpress.auditing.result import Audit
from fairpress.reporting import overview_charts as charts
from fairpress.reporting.html import RenderedChart, Section, overview_charts
from fairpress.reporting.pareto_chart import pareto, points_of
from fairpress.studies.config.network_facts import NetworkFacts

if TYPE_CHECKING:
    from fairpress.studies.report.result import StudyResult


def study_charts(
    leading: Sequence[tuple[str, Audit]],
    result: StudyResult,
    facts: Mapping[str, Sequence[NetworkFacts]],
    sizes: Mapping[tuple[str, str], float],
) -> list[RenderedChart]:
    """Return heatmap, bars by group, mitigations, layer sensitivity and Pareto front, as far as the study has them.

    Parameters
    ----------
    leading
        Label of a part → its audit of all recipes against the baseline.
    facts, sizes
        Label of a part → facts of each network's file; (part, recipe) → size in bytes.
    """
    rendered = overview_charts([Section("", audit, part=label) for label, audit in leading])
    drawn = charts.heatmap(leading)
    if drawn is not None:
        rendered.insert(0, RenderedChart("heatmap", drawn, "The grid of who pays, as a picture."))
    repaired = [
        (p.part.label, s.audit)
        for p, s in zip(result.planned, result.sections, strict=True)
        if p.about == "counterpart"
    ]
    drawn = charts.repairs(repaired)
    if drawn is not None:
        caption = (
            "The change due to each fairness step, relative to its plain counterpart (dashed: no change)."
        )
        rendered.append(RenderedChart("repairs", drawn, caption))
    sensitive = {}
    for label, part_facts in facts.items():
        sensitivity = charts.mean_sensitivity([s for f in part_facts if (s := f.details.get("sensitivity"))])
        if sensitivity:
            sensitive[label or "all networks"] = sensitivity
    drawn = charts.layers(sensitive)
    if drawn is not None:
        caption = "Effect on predictions of rounding one layer to the lowest bit width, by depth; mean over networks."
        rendered.append(RenderedChart("layers", drawn, caption))
    drawn = pareto(points_of(leading, sizes))
    if drawn is not None:
        caption = (
            "Size and accuracy of every model, its verdict, and the loss of its worst group in points. Filled marks: no "
            "other model is at least as small, as accurate and as fair. The worst group is selected on the same rows that "
            "measure its loss. Names for which there is no room are left out; the tables have all."
        )
        rendered.append(RenderedChart("pareto", drawn, caption, wide=False))
    return rendered
