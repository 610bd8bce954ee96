"""A response that streams a file from disk, with little of it in memory."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from fairpress.core.visible_text import visible

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PIECE = 256 * 1024


class OpenFile(StreamingResponse):
    """The content of an open file, which is closed at the end; what is appended meanwhile is not sent."""

    def __init__(self, file: BinaryIO, media_type: str, headers: Mapping[str, str]) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        super().__init__(
            _pieces(file, size), media_type=media_type, headers={**headers, "Content-Length": str(size)}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def disposition(kind: str, name: str) -> str:
    """Return the header that names a download (RFC 6266): ASCII for all clients, and UTF-8 for those that support it.

    Invisible characters, and those that would end the name, are replaced, so that the saved name is the displayed one.
    """
    clean = re.sub(r'[\s\\/"⟨⟩]', "_", visible(name))
    plain = re.sub(r"[^!#$&'()+,\-.0-9;=@A-Z\[\]^_`a-z{}~]", "_", clean)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"


async def _pieces(file: BinaryIO, left: int) -> AsyncIterator[bytes]:
    while left > 0:
        piece = await run_in_threadpool(file.read, min(PIECE, left))
        if not piece:
            return
        left -= len(piece)
        yield piece
