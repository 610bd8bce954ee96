"""An audit as LaTeX tables (booktabs) for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fairpress.auditing.result import Audit, Loss
from fairpress.core.visible_text import visible
from fairpress.reporting import formatting, sentences
from fairpress.reporting.formatting import format_loss
from fairpress.reporting.group_rows import everybody, group_rows

if TYPE_CHECKING:
    from jinja2 import Environment, Template

    from fairpress.reporting.paper_tables import RatesTable

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "→": r"$\to$",
    "²": r"\textsuperscript{2}",
    "⟨": r"$\langle$",
    "⟩": r"$\rangle$",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def render(audit: Audit) -> str:
    """Return a table per compressed model, ready for ``\\input``; it needs the package booktabs."""
    return _template().render(
        audit=audit,
        tex=escape,
        cell=cell,
        everybody=everybody,
        group_rows=group_rows,
        formatting=formatting,
        sentences=sentences,
    )


def render_study(
    groups: Sequence[tuple[str, Sequence[RatesTable]]],
    claims: Sequence[Mapping[str, Any]] = (),
    source: Mapping[str, Any] | None = None,
) -> str:
    """Return tables of rates and gaps, and of claims, ready for ``\\input``."""
    from fairpress.reporting import claims as claim_text

    template = environment().get_template("study.tex.j2")
    return template.render(
        groups=groups,
        claims=claims,
        source=source,
        tex=escape,
        claim_text=claim_text,
        format_p=formatting.format_p,
    )


def escape(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(_SPECIAL.get(c, c) for c in visible(text, breaks=False))


def cell(loss: Loss) -> str:
    """Return a loss in what it is measured in, with its interval; a dash if it is not estimable."""
    return escape(format_loss(loss)) if loss.estimate.estimable else "--"


def _template() -> Template:
    return environment().get_template("audit.tex.j2")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the environment of LaTeX templates, whose delimiters do not clash with braces and percent signs."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("fairpress.reporting"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
