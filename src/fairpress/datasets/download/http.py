"""Fetch one address into one file, giving up soon without internet."""

from __future__ import annotations

import threading
from pathlib import Path

CONNECT_SECONDS = 5.0
STALL_SECONDS = 30.0


class UnreachableError(Exception):
    """A source cannot be reached; the message is the reason, as part of a sentence."""


def download(address: str, target: Path) -> None:
    """Write the content of an address to `target` with pooch. Raises UnreachableError with the reason.

    A resolver without a network may block for minutes, which no timeout of a socket covers; the request
    therefore runs in a thread that is left behind when no byte has come within its time.
    """
    import pooch

    fetch = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, STALL_SECONDS))
    failure: list[Exception] = []

    def work() -> None:
        try:
            fetch(address, str(target), None)
        except Exception as error:  # handed over to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True, name="fairpress-download")
    thread.start()
    size, patience = -1, CONNECT_SECONDS * 2
    while thread.is_alive():
        thread.join(patience)
        before, size = size, target.stat().st_size if target.exists() else -1
        if thread.is_alive() and size == before:
            raise UnreachableError("no answer")
        patience = STALL_SECONDS
    if failure:
        raise UnreachableError(_reason(failure[0])) from failure[0]


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    text = str(error)
    if "resolve" in text or "getaddrinfo" in text or "Name or service" in text:
        return "the host name cannot be resolved (no internet?)"
    return f"{type(error).__name__}"
