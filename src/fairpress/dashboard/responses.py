"""Responses with security headers that allow a browser only what a page needs."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from fairpress.auditing.verdicts.wording import points_up
from fairpress.core.errors import UserError
from fairpress.dashboard.json_files import DAMAGED
from fairpress.dashboard.visible_text import address, encoded, pretty, sent, shown
from fairpress.reporting import formatting, palette
from fairpress.reporting.templating import environment

if TYPE_CHECKING:
    from jinja2 import Environment

STRICT = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
HEADERS = {
    "Content-Security-Policy": STRICT,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def html(template: str, **values: Any) -> HTMLResponse:
    """Render a template as a page."""
    return HTMLResponse(encoded(_templates().get_template(template).render(**values)), headers=HEADERS)


def report(page: bytes) -> HTMLResponse:
    """Return a report in a sandbox, without scripts and network access."""
    return HTMLResponse(page, headers={**HEADERS, "Content-Security-Policy": SANDBOX})


def refused(error: Exception, path: str = "", files: Collection[str] = ()) -> Response:
    """Return the page of an error, with links to files that can still be downloaded."""
    if isinstance(error, HTTPException):
        sentence = "This page does not exist." if error.status_code == 404 else str(error.detail)
        code = error.status_code
    elif isinstance(error, FileNotFoundError):
        sentence, code = "This page does not exist.", 404
    elif isinstance(error, UserError):
        sentence, code = str(error), 422
    elif isinstance(error, DAMAGED):
        sentence, code = "This folder's files are damaged, or of another version of fairpress.", 422
    else:
        sentence, code = "Something went wrong.", 500
    page = _templates().get_template("refused.html.j2")
    text = page.render(title="Not shown", sentence=sentence, path=path, files=files, refresh=False)
    return HTMLResponse(encoded(text), code, headers=HEADERS)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = environment("fairpress.dashboard")
    templates.globals["formatting"] = formatting
    templates.globals["palette"] = palette
    templates.globals["points_up"] = points_up
    templates.filters.update(path=address, pretty=pretty, sent=sent)
    templates.finalize = shown  # for all but markup: values that a form sends back are escaped with |e
    return templates
