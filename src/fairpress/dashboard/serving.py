"""A local web server that disconnects clients that neither send nor read."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.applications import Starlette


@dataclass(frozen=True)
class ClientLimits:
    """ClientLimits on the time and space of a client.

    Attributes
    ----------
    head
        Seconds for the whole head of a request, from the connection or the previous response.
    idle
        Seconds between a response and the first byte of the next request.
    write
        Seconds in which a client must read at least `write_bytes` of the pending response.
    connections
        Maximum concurrent connections; further ones get status 503.
    head_bytes
        Maximum bytes of the head of a request.
    end
        Seconds for pending responses when the server stops.
    """

    head: float = 10
    idle: int = 5
    write: float = 20
    write_bytes: int = 20_000
    connections: int = 512
    head_bytes: int = 32_768
    end: int = 2


def server(app: Starlette, limits: ClientLimits | None = None) -> Server:
    """Return a server of an application; ``run(sockets=[...])`` serves until SIGINT or SIGTERM."""
    client_limits = limits or ClientLimits()

    class Protocol(_TimedProtocol):
        limits = client_limits

    return _QuietServer(
        Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=client_limits.connections,
            timeout_keep_alive=client_limits.idle,
            timeout_graceful_shutdown=client_limits.end,
            h11_max_incomplete_event_size=client_limits.head_bytes,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket: clients that connect before the server starts wait instead of being refused.

    Raises OSError if the address is in use or not permitted.
    """
    listener = socket.socket()
    try:
        # On POSIX this allows a port to be reused at once; on Windows it would allow two servers to share it.
        if hasattr(socket, "AF_UNIX"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


class _QuietServer(Server):
    """A server that stops without error messages about interrupted responses."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


class _TimedProtocol(H11Protocol):
    """Closes a connection whose request does not arrive or whose response is not read; uvicorn waits for both forever."""

    limits: ClassVar[ClientLimits]
    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None
    _waiting = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head, self._write):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_head()
        self._expect_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reading()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._expect_reading()

    def _expect_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
        self._head = self.loop.call_later(self.limits.head, self._head_is_late)

    def _head_is_late(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            # Not while a response is still being read, which has a separate time limit.
            if self.transport.get_write_buffer_size():
                self._expect_head()
            else:
                self.transport.abort()

    def _expect_reading(self) -> None:
        if self._write is not None:
            self._write.cancel()
        self._waiting = self.transport.get_write_buffer_size()
        self._write = (
            self.loop.call_later(self.limits.write, self._reading_is_late) if self._waiting else None
        )

    def _reading_is_late(self) -> None:
        self._write = None
        left = self.transport.get_write_buffer_size()
        # A paused buffer only shrinks; a response that continued was paused again since.
        if left and self._waiting - left < min(self.limits.write_bytes, self._waiting):
            self.transport.abort()
        else:
            self._expect_reading()
