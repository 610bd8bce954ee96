"""Templates of pages: every value is escaped, its invisible characters are shown, and an undefined value is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fairpress.core.visible_text import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(package: str) -> Environment:
    """Return the environment of the templates in a package's folder ``templates``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Return plain text with its invisible characters shown; markup and numbers as they are."""
    return visible(value) if type(value) is str else value
