"""The dashboard's pages. Everything is a GET that changes nothing; every word from a file is escaped; no script runs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from fairpress.auditing.result import Verdict
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.dashboard import live
from fairpress.dashboard.catalogue import AUDIT, CARD, ONNX, STUDY, look, read_card, read_progress
from fairpress.dashboard.files import DAMAGED, Unreadable, open_regular
from fairpress.dashboard.inside import inside
from fairpress.dashboard.sending import OpenFile, disposition
from fairpress.dashboard.text import address, encoded, pretty, sent, shown
from fairpress.dashboard.told import OVERALL, Choice, Compared, Told, page_of
from fairpress.reporting import words
from fairpress.reporting.figures import MOST_GROUPS, Line, forest_of
from fairpress.reporting.templating import environment

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

HOSTS = ("127.0.0.1", "localhost")
PAGE = 100
MOST_ROWS = 1000  # of a table that has no pages, and of files
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
    pages = _Pages(root.resolve())
    routes = {
        "/": pages.index,
        "/study/{path:place}": pages.study,
        "/chart/{path:place}": pages.chart,
        "/network/{number:int}/{path:place}": pages.network,
        "/compare/{path:place}": pages.compare,
        "/model/{path:place}": pages.model,
        "/file/{path:place}": pages.file,
        "/download/{path:place}": pages.download,
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
        found = look(self.root)
        live_now = any(s.progress and s.progress.state == "running" for s in found.studies)
        return _html("index.html.j2", title="Studies and models", found=found, refresh=live_now)

    def study(self, request: Request) -> Response:
        path, folder = self._folder(request)
        problem, progress = "", None
        try:
            progress = read_progress(folder)
        except Unreadable as error:
            problem = str(error)
        files = _files(folder, FILES)
        try:
            told = Told(folder) if STUDY in files or _exists(folder / STUDY) else None
        except DAMAGED as error:
            return _refused_with(error, path, files)
        if told is None and progress is None and not problem:
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
            problem=problem,
            choice=choice,
            rows=rows[:MOST_ROWS],
            hidden=max(0, len(rows) - MOST_ROWS),
            most=MOST_ROWS,
            networks=networks,
            page=min(max(_number(request, "page"), 1), pages),
            pages=pages,
            query=urlencode(asdict(choice)),
            drawn=any(r.loss.low is not None for r in rows),
            files=files + [f"figures/{n}" for n in _files(folder / "figures") if n.endswith(".svg")],
            refresh=progress is not None and progress.state == "running",
        )

    def chart(self, request: Request) -> Response:
        _, folder = self._folder(request)
        choice = _choice(request)
        told = Told(folder)
        margin = next((a["margin"] for a in told.audits.values()), 0.02)
        svg = _drawn(tuple(told.compared(choice)), choice.group or OVERALL, margin)
        return Response(encoded(svg), media_type="image/svg+xml", headers=HEADERS)

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
        card = read_card(folder)
        if card is None:
            raise HTTPException(404)
        with open_regular(folder / ONNX) as onnx:
            size = os.fstat(onnx.fileno()).st_size
        files = _files(folder)
        return _html("model.html.j2", title=path, path=path, card=card, size=size, files=files, refresh=False)

    def file(self, request: Request) -> Response:
        return self._send(request, "inline")

    def download(self, request: Request) -> Response:
        return self._send(request, "attachment")

    def _send(self, request: Request, how: str) -> Response:
        found = inside(self.root, request.path_params["path"])
        if found is None or not _ours(found):
            raise HTTPException(404)
        kind = SHOWN.get(found.suffix)
        if kind is None:
            kind, how = "application/octet-stream", "attachment"
        headers = {
            **HEADERS,
            "Content-Security-Policy": SANDBOX,
            "Content-Disposition": disposition(how, found.name),
        }
        return OpenFile(open_regular(found), kind, headers)

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


class _Place(Convertor[str]):
    """The rest of an address, of any characters: a folder's name may have a line break in it."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("place", _Place())


def _files(folder: Path, names: Collection[str] = ()) -> list[str]:
    """Return the regular files of a folder that are not hidden, those of `names` where some are given, in their order."""
    try:
        with os.scandir(folder) as entries:
            found = {
                e.name for e in entries if not e.name.startswith(".") and e.is_file(follow_symlinks=False)
            }
    except OSError:
        return []
    return [n for n in names if n in found] if names else sorted(found)[:MOST_ROWS]


def _exists(path: Path) -> bool:
    return os.path.lexists(path)


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

    def safely(request: Request) -> Response:
        try:
            return page(request)
        except (HTTPException, *DAMAGED) as error:
            return _refused(request, error)

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(safely, request)

    return answer


def _html(template: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(encoded(_environment().get_template(template).render(**values)), headers=HEADERS)


def _report(page: bytes) -> HTMLResponse:
    return HTMLResponse(page, headers={**HEADERS, "Content-Security-Policy": SANDBOX})


def _refused(request: Request, error: Exception) -> Response:
    return _refused_with(error)


def _refused_with(error: Exception, path: str = "", files: Collection[str] = ()) -> Response:
    """Return the page that says why there is none, with files that can be downloaded all the same."""
    if isinstance(error, HTTPException):
        sentence = "There is no such page." if error.status_code == 404 else str(error.detail)
        code = error.status_code
    elif isinstance(error, FileNotFoundError):
        sentence, code = "There is no such page.", 404
    elif isinstance(error, UserError):
        sentence, code = str(error), 422
    elif isinstance(error, DAMAGED):
        sentence, code = "This folder's files are damaged, or of another version of fairpress.", 422
    else:
        sentence, code = "Something went wrong.", 500
    page = _environment().get_template("refused.html.j2")
    text = page.render(title="Not shown", sentence=sentence, path=path, files=files, refresh=False)
    return HTMLResponse(encoded(text), code, headers=HEADERS)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    found = environment("fairpress.dashboard")
    found.globals["words"] = words
    found.filters.update(path=address, pretty=pretty, sent=sent)
    found.finalize = shown  # all but markup: values that a form sends back are marked with |e
    return found
