"""The dashboard's pages: GET requests only, all text from files is escaped, and no script runs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import Route

from fairpress.core.errors import UserError
from fairpress.dashboard import on_demand_audit
from fairpress.dashboard.charts import drawn
from fairpress.dashboard.discovery import AUDIT, CARD, ONNX, STUDY, discover, read_card, read_progress
from fairpress.dashboard.file_response import OpenFile, disposition
from fairpress.dashboard.json_files import DAMAGED, Unreadable, open_regular
from fairpress.dashboard.libraries import load
from fairpress.dashboard.responses import HEADERS, SANDBOX, html, refused, report
from fairpress.dashboard.safe_paths import is_inside
from fairpress.dashboard.study_reader import OVERALL, Choice, StudyResults, page_of
from fairpress.dashboard.visible_text import encoded

if TYPE_CHECKING:
    from starlette.requests import Request

HOSTS = ("127.0.0.1", "localhost")
PAGE = 100
MAX_ROWS = 1000  # of a table without pages, and of a list of files
SHOWN = {".html": "text/html", ".svg": "image/svg+xml", ".png": "image/png"}
Page = Callable[["Request"], Response]


def create_app(root: Path) -> Starlette:
    """Return the web application that shows what is below `root`.

    Only requests to ``localhost`` are answered, which prevents DNS rebinding, and only files below `root` are read.
    """
    pages = _Pages(root.resolve())
    routes = {
        "/": pages.index,
        "/study/{path:anypath}": pages.study,
        "/chart/{path:anypath}": pages.chart,
        "/network/{number:int}/{path:anypath}": pages.network,
        "/compare/{path:anypath}": pages.compare,
        "/model/{path:anypath}": pages.model,
        "/file/{path:anypath}": pages.file,
        "/download/{path:anypath}": pages.download,
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


class _Pages:
    def __init__(self, root: Path) -> None:
        self.root = root

    def index(self, request: Request) -> Response:
        listing = discover(self.root)
        running = any(s.progress and s.progress.state == "running" for s in listing.studies)
        return html("index.html.j2", title="Studies and models", listing=listing, refresh=running)

    def study(self, request: Request) -> Response:
        path, folder = self._folder(request)
        files = _files(folder, FILES)
        try:
            return self._study(request, path, folder, files)
        except DAMAGED as error:
            return refused(error, path, files)

    def _study(self, request: Request, path: str, folder: Path, files: list[str]) -> Response:
        problem, progress = "", None
        try:
            progress = read_progress(folder)
        except Unreadable as error:
            problem = str(error)
        results = StudyResults(folder) if os.path.lexists(folder / STUDY) else None
        if results is None and progress is None and not problem:
            raise HTTPException(404)
        choice = _choice(request)
        rows = results.compared(choice) if results else []
        networks, pages = page_of(results.chosen(choice) if results else [], _number(request, "page"), PAGE)
        return html(
            "study.html.j2",
            title=(results.name if results else "") or (progress.name if progress else path),
            path=path,
            results=results,
            progress=progress,
            problem=problem,
            choice=choice,
            rows=rows[:MAX_ROWS],
            hidden=max(0, len(rows) - MAX_ROWS),
            max_rows=MAX_ROWS,
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
        results = StudyResults(folder)
        margin = next((a["margin"] for a in results.audits.values()), 0.02)
        svg = drawn(tuple(results.compared(choice)), choice.group or OVERALL, margin)
        return Response(encoded(svg), media_type="image/svg+xml", headers=HEADERS)

    def network(self, request: Request) -> Response:
        _, folder = self._folder(request)
        results, number = StudyResults(folder), request.path_params["number"]
        if number >= len(results.networks):
            raise HTTPException(404)
        load()
        return report(on_demand_audit.audit_network(results, results.networks[number]))

    def compare(self, request: Request) -> Response:
        _, folder = self._folder(request)
        query = request.query_params
        load()
        page = on_demand_audit.audit_pair(
            StudyResults(folder), query.get("part", ""), query.get("first", ""), query.get("second", "")
        )
        return report(page)

    def model(self, request: Request) -> Response:
        path, folder = self._folder(request)
        card = read_card(folder)
        if card is None:
            raise HTTPException(404)
        with open_regular(folder / ONNX) as onnx:
            size = os.fstat(onnx.fileno()).st_size
        files = _files(folder)
        return html("model.html.j2", title=path, path=path, card=card, size=size, files=files, refresh=False)

    def file(self, request: Request) -> Response:
        return self._send(request, "inline")

    def download(self, request: Request) -> Response:
        return self._send(request, "attachment")

    def _send(self, request: Request, how: str) -> Response:
        path = is_inside(self.root, request.path_params["path"])
        if path is None or not _belongs_to_study_or_model(path):
            raise HTTPException(404)
        kind = SHOWN.get(path.suffix)
        if kind is None:
            kind, how = "application/octet-stream", "attachment"
        headers = {
            **HEADERS,
            "Content-Security-Policy": SANDBOX,
            "Content-Disposition": disposition(how, path.name),
        }
        return OpenFile(open_regular(path), kind, headers)

    def _folder(self, request: Request) -> tuple[str, Path]:
        path = request.path_params["path"]
        folder = is_inside(self.root, path)
        if folder is None or not folder.is_dir():
            raise HTTPException(404)
        return path, folder


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


class _PathConvertor(Convertor[str]):
    """The rest of a URL path, of any characters: the name of a folder may contain a line break."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anypath", _PathConvertor())


def _files(folder: Path, names: Collection[str] = ()) -> list[str]:
    """Return the regular, visible files of a folder; only those in `names`, in that order, if `names` is not empty."""
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            regular = {
                e.name for e in entries if not e.name.startswith(".") and e.is_file(follow_symlinks=False)
            }
    except OSError:
        return []
    return [n for n in names if n in regular] if names else sorted(regular)[:MAX_ROWS]


def _belongs_to_study_or_model(path: Path) -> bool:
    """Return whether a file is in the folder of a study or a model: the dashboard is not a file server."""
    near = (path.parent, path.parent.parent)
    return any((p / STUDY).is_file() or (p / CARD).is_file() for p in near)


def _choice(request: Request) -> Choice:
    query = request.query_params
    return Choice(*(query.get(key, "") for key in ("dataset", "model", "method", "group")))


def _number(request: Request, key: str) -> int:
    text = request.query_params.get(key, "1")
    return int(text) if text.isdecimal() and len(text) < 9 else 1


def _threaded(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Run a page in a thread, so that one visitor does not wait for another."""

    def safely(request: Request) -> Response:
        try:
            return page(request)
        except (HTTPException, *DAMAGED) as error:
            return refused(error)

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(safely, request)

    return answer


def _refused(request: Request, error: Exception) -> Response:
    return refused(error)
