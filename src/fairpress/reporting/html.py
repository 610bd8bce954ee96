"""One self-contained HTML file that works offline: no script, no request, verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fairpress.auditing.result import Audit
from fairpress.auditing.run import group_name
from fairpress.reporting import claims as claim_words
from fairpress.reporting import tradeoff as tradeoff_words
from fairpress.reporting import words
from fairpress.reporting.figures import forest
from fairpress.reporting.tradeoff import Tradeoff

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True)
class Section:
    """One audit of a report, with a heading and a sentence that says what is compared."""

    title: str
    audit: Audit
    intro: str = ""


@dataclass(frozen=True)
class ModelFacts:
    """What a model weighs: bytes of the shipped file, and gzipped."""

    name: str
    bytes: float
    gzip_bytes: float
    note: str = ""


Figures = Mapping[tuple[int, str, str], str]


def draw(sections: Sequence[Section]) -> Figures:
    """Return (index of the section, compressed model, metric) → forest plot as SVG."""
    return {
        (i, c.compressed, m): forest(c, s.audit.margin, m)
        for i, s in enumerate(sections)
        for c in s.audit.comparisons
        for m in s.audit.metrics
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
) -> str:
    """Return the report.

    Parameters
    ----------
    sections
        One or more audits; the first gives the verdict at the top.
    models
        Sizes; the first is the baseline.
    made_by
        How it was made: versions, seeds, data fingerprint, command.
    banner
        A sentence that stands above everything, such as that the data are synthetic.
    notes
        Limits and sources, beside the audits' own.
    figures
        What `draw` returned, where it has been called already.
    tradeoff
        The section "Size, accuracy, bias".
    claims
        The answers to a study's claims, as claims.json holds them.
    """
    return _template().render(
        sections=sections,
        title=title,
        models=models,
        made_by=made_by or {},
        banner=banner,
        notes=list(dict.fromkeys([*notes, *(n for s in sections for n in s.audit.notes)])),
        figures=draw(sections) if figures is None else figures,
        tradeoff=tradeoff,
        tw=tradeoff_words,
        claims=claims,
        cw=claim_words,
        nothing=None,
        words=words,
        group_name=group_name,
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fairpress.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
