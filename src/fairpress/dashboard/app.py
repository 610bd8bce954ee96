"""The dashboard's pages. Everything is a GET that changes nothing; every word from a file is escaped; no script runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from fairpress.auditing.result import Verdict
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.dashboard import live
from fairpress.dashboard.catalogue import AUDIT, CARD, ONNX, STUDY, look
from fairpress.dashboard.files import read_json
from fairpress.dashboard.inside import inside, own
from fairpress.dashboard.told import OVERALL, Choice, Compared, Told, page_of
from fairpress.reporting import words
from fairpress.reporting.figures import MOST_GROUPS, Line, forest_of
from fairpress.reporting.templating import environment
from fairpress.studies.progress_file import PROGRESS, read_progress

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

HOSTS = ("127.0.0.1", "localhost")
PAGE = 100
SHOWN = {".html": "text/html", ".svg": "image/svg+xml", ".png": "image/png"}
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

Page = Callable[["Request"], Response]


def create_app(root: Path) -> Starlette:
    """Return the web application that shows what is below `root`.

    Only requests for this machine's own names are answered (no other site's name can be made to point here), and only
    files below `root` are read.
    """
    pages = _Pages(root)
    routes = {
        "/": pages.index,
        "/study/{path:path}": pages.study,
        "/chart/{path:path}": pages.chart,
        "/network/{number:int}/{path:path}": pages.network,
        "/compare/{path:path}": pages.compare,
        "/model/{path:path}": pages.model,
        "/file/{path:path}": pages.file,
        "/download/{path:path}": pages.download,
    }
    return Starlette(
        routes=[Route(path, _threaded(page), methods=["GET"]) for path, page in routes.items()],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)],
        exception_handlers={
            HTTPException: _refused,
            UserError: _refused,
            Exception: _refused,
        },
    )


def warm() -> None:
    """Load what draws charts and what audits, so that the first visitor does not wait for it."""
    forest_of([Line("", Estimate(0.0, -0.01, 0.01, 1), "inconclusive")], 0.02, "", "")
    live.rehearse()


class _Pages:
    def __init__(self, root: Path) -> None:
        self.root = root

    def index(self, request: Request) -> Response:
        studies, models = look(self.root)
        live_now = any(s.progress and s.progress.state == "running" for s in studies)
        return _html(
            "index.html.j2", title="Studies and models", studies=studies, models=models, refresh=live_now
        )

    def study(self, request: Request) -> Response:
        path, folder = self._folder(request)
        progress = read_progress(folder) if own(folder / PROGRESS, folder) else None
        told = Told(folder) if read_json(folder / STUDY) is not None else None
        if told is None and progress is None:
            raise HTTPException(404)
        choice = _choice(request)
        rows = told.compared(choice) if told else []
        networks, pages = page_of(told.chosen(choice) if told else [], _number(request, "page"), PAGE)
        return _html(
            "study.html.j2",
            title=str((told.study.get("name") if told else None) or (progress.name if progress else path)),
            path=path,
            told=told,
            progress=progress,
            choice=choice,
            rows=rows,
            networks=networks,
            page=min(max(_number(request, "page"), 1), pages),
            pages=pages,
            query=urlencode(asdict(choice)),
            drawn=any(r.loss.low is not None for r in rows),
            figures=sorted(f"figures/{f.name}" for f in (folder / "figures").glob("*.svg")) if told else [],
            files=[n for n in FILES if (folder / n).is_file()],
            refresh=progress is not None and progress.state == "running",
        )

    def chart(self, request: Request) -> Response:
        _, folder = self._folder(request)
        choice = _choice(request)
        told = Told(folder)
        margin = next((a["margin"] for a in told.audits.values()), 0.02)
        svg = _drawn(tuple(told.compared(choice)), choice.group or OVERALL, margin)
        return Response(svg, media_type="image/svg+xml", headers=HEADERS)

    def network(self, request: Request) -> Response:
        _, folder = self._folder(request)
        told, number = Told(folder), request.path_params["number"]
        if number >= len(told.networks):
            raise HTTPException(404)
        return _report(live.of_network(told, told.networks[number]))

    def compare(self, request: Request) -> Response:
        _, folder = self._folder(request)
        asked = request.query_params
        found = live.of_two(
            Told(folder), asked.get("part", ""), asked.get("first", ""), asked.get("second", "")
        )
        return _report(found)

    def model(self, request: Request) -> Response:
        path, folder = self._folder(request)
        card = read_json(folder / CARD)
        onnx = folder / ONNX
        if not isinstance(card, dict) or not onnx.is_file() or not own(onnx, folder):
            raise HTTPException(404)
        size = onnx.stat().st_size
        files = sorted(f.name for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
        return _html("model.html.j2", title=path, path=path, card=card, size=size, files=files, refresh=False)

    def file(self, request: Request) -> Response:
        return self._send(request, "inline")

    def download(self, request: Request) -> Response:
        return self._send(request, "attachment")

    def _send(self, request: Request, disposition: str) -> Response:
        found = inside(self.root, request.path_params["path"])
        if found is None or not found.is_file() or not _ours(found):
            raise HTTPException(404)
        kind = SHOWN.get(found.suffix)
        if kind is None:
            kind, disposition = "application/octet-stream", "attachment"
        return FileResponse(
            found,
            media_type=kind,
            filename=found.name,
            content_disposition_type=disposition,
            headers={**HEADERS, "Content-Security-Policy": SANDBOX},
        )

    def _folder(self, request: Request) -> tuple[str, Path]:
        path = request.path_params["path"]
        found = inside(self.root, path)
        if found is None or not found.is_dir():
            raise HTTPException(404)
        return path, found


FILES = (
    "report.html",
    AUDIT,
    "bias.json",
    "tradeoff.json",
    "claims.json",
    "models.json",
    STUDY,
    "predictions.parquet",
)


def _ours(path: Path) -> bool:
    """Tell whether a file lies in a study's or a model's folder: the dashboard is no file server."""
    near = (path.parent, path.parent.parent)
    return any((p / STUDY).is_file() or (p / CARD).is_file() for p in near)


def _choice(request: Request) -> Choice:
    asked = request.query_params
    return Choice(*(asked.get(key, "") for key in ("dataset", "model", "method", "group")))


def _number(request: Request, key: str) -> int:
    text = request.query_params.get(key, "1")
    return int(text) if text.isdecimal() and len(text) < 9 else 1


@lru_cache(maxsize=128)
def _drawn(rows: tuple[Compared, ...], group: str, margin: float) -> str:
    lines = [Line(_line(r), r.loss, _verdict(r)) for r in rows[:MOST_GROUPS]]
    return forest_of(lines, margin, "accuracy", f"what {group} loses")


def _verdict(row: Compared) -> Verdict:
    """Return the verdict whose mark a row has: no green where groups were not assessed."""
    return "inconclusive" if row.verdict == "no_harm" and row.lacking else row.verdict


def _line(row: Compared) -> str:
    name = f"{row.recipe} against {row.baseline}"
    return f"{row.part}: {name}" if row.part else name


def _threaded(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Keep the pages of one visitor from waiting for another's."""

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(page, request)

    return answer


def _html(template: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(_environment().get_template(template).render(**values), headers=HEADERS)


def _report(page: str) -> HTMLResponse:
    return HTMLResponse(page, headers={**HEADERS, "Content-Security-Policy": SANDBOX})


def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        sentence = "There is no such page." if error.status_code == 404 else str(error.detail)
        code = error.status_code
    elif isinstance(error, UserError):
        sentence, code = str(error), 422
    elif isinstance(error, (KeyError, TypeError, ValueError, AttributeError, OSError)):
        sentence, code = "This folder's files are damaged, or of another version of fairpress.", 422
    else:
        sentence, code = "Something went wrong.", 500
    page = _environment().get_template("refused.html.j2")
    return HTMLResponse(
        page.render(title="Not shown", sentence=sentence, refresh=False), code, headers=HEADERS
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    found = environment("fairpress.dashboard")
    found.globals["words"] = words
    found.filters["path"] = lambda text: quote(str(text), safe="/")
    return found
