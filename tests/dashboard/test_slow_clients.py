"""Clients that send nothing, or read nothing, are closed; others are served meanwhile."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("starlette", reason="the extra `dashboard` is not installed")
from fairpress.dashboard.app import create_app  # noqa: E402
from fairpress.dashboard.serving import ClientLimits  # noqa: E402
from visiting import serving  # noqa: E402

LIMITS = ClientLimits(head=1, idle=1, write=1, write_bytes=20_000, connections=400)
SIZE = 60_000_000  # more than the system keeps for a client that does not read
GET = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    root = tmp_path_factory.mktemp("slow")
    (root / "s").mkdir()
    (root / "s" / "study.json").write_text('{"name": "s"}')
    with (root / "s" / "audit.json").open("wb") as file:
        file.truncate(SIZE)
    with serving(create_app(root), LIMITS) as result:
        yield result


def connect(port, *, buffer=None):
    result = socket.socket()
    if buffer:
        result.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    result.settimeout(30)
    result.connect(("127.0.0.1", port))
    return result


def closed_after(client, begun):
    """Return after how many seconds the server ended a connection, and how many bytes came until then."""
    count = 0
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(1 << 16):
            count += len(piece)
    return time.monotonic() - begun, count


def test_three_hundred_connections_without_a_request_are_closed_and_keep_nobody_waiting(port):
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(300)]
        for client in clients[::2]:
            client.sendall(b"GET / HTTP/1.1\r\nHost:")
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=30).status_code == 200
        for client in clients:
            seconds, count = closed_after(client, begun)
            assert count == 0
    assert 1 <= seconds < 20


def test_a_head_that_comes_letter_by_letter_is_not_waited_for(port):
    begun = time.monotonic()
    with connect(port) as client, contextlib.suppress(ConnectionError):
        for letter in b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * 1000:
            client.sendall(bytes([letter]))
            time.sleep(0.05)
    assert time.monotonic() - begun < 10


def test_a_second_request_that_does_not_come_is_not_waited_for(port):
    for begin in (b"", b"GET / HT"):
        with connect(port) as client:
            client.sendall(GET % b"/nowhere")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 404")
            begun = time.monotonic()
            client.sendall(begin)
            assert closed_after(client, begun)[0] < 10


def test_a_body_that_does_not_come_is_not_waited_for(port):
    with connect(port) as client:
        begun = time.monotonic()
        client.sendall(GET.replace(b"Host", b"Content-Length: 1000000\r\nHost") % b"/nowhere")
        seconds, count = closed_after(client, begun)
    assert seconds < 10
    assert count > 0


def test_a_head_without_end_is_refused(port):
    with connect(port) as client:
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000)
        assert closed_after(client, begun)[0] < 10


def test_a_download_that_is_not_read_is_ended_and_one_that_is_read_slowly_goes_on(port):
    with connect(port, buffer=8192) as stuck, connect(port) as slow:
        for client in (stuck, slow):
            client.sendall(GET % b"/download/s/audit.json")
        begun, count = time.monotonic(), 0
        while time.monotonic() - begun < 5:  # longer than a client may read nothing
            count += len(slow.recv(400_000))
            time.sleep(0.1)
        while count < SIZE and (piece := slow.recv(1 << 20)):
            count += len(piece)
        assert count > SIZE
        _, count = closed_after(stuck, begun)
        assert 0 < count < SIZE
