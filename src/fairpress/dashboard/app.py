"""The dashboard's pages. Everything is a GET that changes nothing; every word from a file is escaped; no script runs."""

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
from fairpress.core.estimate import Estimate
from fairpress.dashboard import on_demand_audit
from fairpress.dashboard.charts import drawn
from fairpress.dashboard.discovery import AUDIT, CARD, ONNX, STUDY, discover, read_card, read_progress
from fairpress.dashboard.file_response import OpenFile, disposition
from fairpress.dashboard.json_files import DAMAGED, Unreadable, open_regular
from fairpress.dashboard.responses import HEADERS, SANDBOX, html, refused, report
from fairpress.dashboard.safe_paths import is_inside
from fairpress.dashboard.study_reader import OVERALL, Choice, StudyResults, page_of
from fairpress.dashboard.visible_text import encoded
from fairpress.reporting.forest_plot import ForestRow, forest_of

if TYPE_CHECKING:
    from starlette.requests import Request

HOSTS = ("127.0.0.1", "localhost")
PAGE = 100
MOST_ROWS = 1000  # of a table that has no pages, and of files
SHOWN = {".html": "text/html", ".svg": "image/svg+xml", ".png": "image/png"}
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
    forest_of([ForestRow("", Estimate(0.0, -0.01, 0.01, 1), "inconclusive")], 0.02, "", "")
    on_demand_audit.rehearse()


class _Pages:
    def __init__(self, root: Path) -> None:
        self.root = root

    def index(self, request: Request) -> Response:
        found = discover(self.root)
        live_now = any(s.progress and s.progress.state == "running" for s in found.studies)
        return html("index.html.j2", title="Studies and models", found=found, refresh=live_now)

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
        told = StudyResults(folder) if os.path.lexists(folder / STUDY) else None
        if told is None and progress is None and not problem:
            raise HTTPException(404)
        choice = _choice(request)
        rows = told.compared(choice) if told else []
        networks, pages = page_of(told.chosen(choice) if told else [], _number(request, "page"), PAGE)
        return html(
            "study.html.j2",
            title=(told.name if told else "") or (progress.name if progress else path),
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
        told = StudyResults(folder)
        margin = next((a["margin"] for a in told.audits.values()), 0.02)
        svg = drawn(tuple(told.compared(choice)), choice.group or OVERALL, margin)
        return Response(encoded(svg), media_type="image/svg+xml", headers=HEADERS)

    def network(self, request: Request) -> Response:
        _, folder = self._folder(request)
        told, number = StudyResults(folder), request.path_params["number"]
        if number >= len(told.networks):
            raise HTTPException(404)
        return report(on_demand_audit.audit_network(told, told.networks[number]))

    def compare(self, request: Request) -> Response:
        _, folder = self._folder(request)
        asked = request.query_params
        found = on_demand_audit.audit_pair(
            StudyResults(folder), asked.get("part", ""), asked.get("first", ""), asked.get("second", "")
        )
        return report(found)

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
        found = is_inside(self.root, request.path_params["path"])
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
        found = is_inside(self.root, path)
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
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            found = {
                e.name for e in entries if not e.name.startswith(".") and e.is_file(follow_symlinks=False)
            }
    except OSError:
        return []
    return [n for n in names if n in found] if names else sorted(found)[:MOST_ROWS]


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


def _threaded(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Keep the pages of one visitor from waiting for another's."""

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
