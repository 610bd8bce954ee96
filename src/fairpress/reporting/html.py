"""One self-contained HTML file that works offline: no script, no request, verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from fairpress.auditing.result import Audit
from fairpress.auditing.verdicts.wording import group_name
from fairpress.reporting import claims as claim_text
from fairpress.reporting import (
    class_rows,
    first_screen,
    flip_text,
    formatting,
    group_rows,
    palette,
    recipe_rows,
    sentences,
)
from fairpress.reporting import tradeoff as tradeoff_text
from fairpress.reporting.accuracy_plot import accuracy_plot
from fairpress.reporting.forest_plot import forest
from fairpress.reporting.heat_grid import heat_grid
from fairpress.reporting.paper_tables import RatesTable
from fairpress.reporting.templating import environment
from fairpress.reporting.tradeoff import Tradeoff

if TYPE_CHECKING:
    from jinja2 import Template


MAX_OPEN = 4  # comparisons that are not folded
MAX_BYTES = 3_000_000  # bytes of a report that people can mail and browsers scroll


@dataclass(frozen=True)
class Section:
    """One audit of a report, with a heading and an introductory sentence.

    Attributes
    ----------
    part
        What distinguishes it from the others on the first screen.
    first
        Whether it is summarized on the first screen.
    placebos, sizes
        Recipe → its audit against its placebo, and model → bytes of its file, for the first screen of a study.
    """

    title: str
    audit: Audit
    intro: str = ""
    part: str = ""
    first: bool = False
    placebos: Mapping[str, Audit] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFacts:
    """The size of a model: bytes of its file, raw and gzipped, and the ratio of the size of the baseline to it."""

    name: str
    bytes: float
    gzip_bytes: float
    smaller: float
    note: str = ""


@dataclass(frozen=True)
class RenderedChart:
    """A chart over several models: file name, SVG and caption; a `wide` one scrolls sideways on a phone."""

    name: str
    svg: str
    caption: str
    wide: bool = True


Figures = Mapping[tuple[int, str, str], str]


def draw(sections: Sequence[Section]) -> Figures:
    """Return (index of the section, compressed model, metric) → forest plot as SVG."""
    return {
        # A relative margin differs between groups; the line is drawn at that of everybody.
        (i, c.compressed, x.metric): forest(c, x.margin, x.metric)
        for i, s in enumerate(sections)
        for c in s.audit.comparisons
        for x in c.overall.losses
        if x.metric in formatting.columns(s.audit, c)
    }


def render(
    sections: Sequence[Section],
    *,
    title: str,
    models: Sequence[ModelFacts] = (),
    made_by: Mapping[str, str] | None = None,
    banner: str = "",
    notes: Sequence[str] = (),
    figures: Figures | None = None,
    tradeoff: Tradeoff | None = None,
    claims: Sequence[Mapping[str, Any]] = (),
    charts: Sequence[RenderedChart] | None = None,
    tables: Sequence[tuple[str, Sequence[RatesTable]]] = (),
    source: Mapping[str, Any] | None = None,
    date: str = "",
) -> str:
    """Return the report; above `MAX_BYTES`, it omits the tables of every comparison, which audit.json has.

    Parameters
    ----------
    sections
        One or more audits; the verdict at the top is that of the first.
    models
        Sizes; the first is the baseline.
    made_by
        Provenance: versions, seeds, data fingerprint, command.
    banner
        A sentence at the top, such as that the data are synthetic.
    notes
        Limits and sources, in addition to the notes of the audits.
    figures
        The result of `draw`, if it was called already.
    tradeoff
        The section "Size, accuracy, bias".
    claims
        The results of a study's claims, as in claims.json.
    charts
        Charts over several models; by default those of the first section.
    tables
        Label → tables of rates; `source` is the source of the published numbers in them.
    date
        When it was made, for the first screen.
    """
    if charts is None:
        charts = overview_charts(sections[:1])
    leading = [s for s in sections if s.first] or list(sections[:1])
    audits = [s.audit for s in leading]
    placebos = [a for s in leading for a in s.placebos.values()]
    grid = heat_grid([(s.part, s.audit) for s in leading])
    contents = [
        *([("claims", "claims")] if claims else []),
        *([("figures", "charts")] if charts or grid else []),
        *([("tables", "tables")] if tables else []),
        *([("tradeoff", "size, accuracy, bias")] if tradeoff else []),
        ("details", "every group"),
        ("reading", "how to read this, limits"),
        *([("made", "how it was made")] if made_by else []),
    ]
    page = partial(
        _template().render,
        sections=sections,
        leading=leading,
        title=title,
        models=models,
        made_by=made_by or {},
        banner=banner,
        notes=list(dict.fromkeys([*notes, *(n for s in sections for n in s.audit.notes)])),
        figures=draw(sections) if figures is None else figures,
        tradeoff=tradeoff,
        # Each number has one interval: for the bias the narrower one of the section "Size, accuracy, bias".
        summed=[] if tradeoff is None else tradeoff.attributes,
        tradeoff_text=tradeoff_text,
        claims=claims,
        charts=charts,
        tables=tables,
        source=source,
        headlines=recipe_rows.headlines(audits, placebos) if placebos else first_screen.headlines(audits),
        grid=grid,
        date=date,
        palette=palette,
        MAX_OPEN=MAX_OPEN,
        glance=[
            (
                s,
                first_screen.first_screen_rows(s.audit),
                recipe_rows.recipe_rows(s.audit, s.placebos, s.sizes),
            )
            for s in leading
        ],
        contents=contents,
        fresh=_fresh(sections),
        claim_text=claim_text,
        nothing=None,
        formatting=formatting,
        flip_text=flip_text,
        first_screen=first_screen,
        group_rows=group_rows,
        class_rows=class_rows,
        sentences=sentences,
        group_name=group_name,
    )
    whole = page(brief=False)
    return whole if len(whole.encode()) <= MAX_BYTES else page(brief=True)


def overview_charts(sections: Sequence[Section]) -> list[RenderedChart]:
    """Return the charts that need only audits: the accuracy of every assessed group."""
    if any(s.audit.outcome is not None for s in sections):
        return []  # it is of error rates; the forest plots have every loss in its unit
    rendered = []
    for i, section in enumerate(sections):
        svg = accuracy_plot(section.audit)
        if svg is not None:
            name = "groups" if i == 0 else f"groups-{i}"
            text = (
                "Accuracy of every assessed group with intervals: the baseline and the compressed models with the most "
                "severe verdicts."
            )
            caption = f"{section.part}: {text}" if section.part else text
            rendered.append(RenderedChart(name, svg, caption, wide=False))
    return rendered


def _fresh(sections: Sequence[Section]) -> list[list[str]]:
    """Return for each section the models whose rates no earlier section shows."""
    shown: set[tuple[object, ...]] = set()
    out = []
    for s in sections:
        new = []
        for m in s.audit.models:
            key = (
                s.part,
                s.audit.rows,
                s.audit.seeds,
                m.name,
                *((g.n, g.rates[s.audit.metrics[0]].value) for g in m.groups),
            )
            if key not in shown:
                new.append(m.name)
            shown.add(key)
        out.append(new)
    return out


@lru_cache(maxsize=1)
def _template() -> Template:
    return environment("fairpress.reporting").get_template("report.html.j2")
