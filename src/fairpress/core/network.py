"""Test whether a server listens, because clients of servers may retry for minutes."""

from __future__ import annotations

import socket

CONNECT_SECONDS = 10.0


def connection_problem(host: str, port: int) -> str | None:
    """Return why no connection to an address is possible, as part of a sentence; None if it is."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return None
