"""How the dashboard's process begins and ends, whoever is connected."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from study_folders import make_study

pytest.importorskip("starlette", reason="the extra `dashboard` is not installed")
pytest.importorskip("uvicorn")

COMMAND = [sys.executable, "-c", "from fairpress.cli import main; main()", "dashboard"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals")


@contextlib.contextmanager
def dashboard(root, **environment):
    with subprocess.Popen(
        [*COMMAND, str(root), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process, process.stdout.readline().split()[0]
        finally:
            process.kill()


@posix
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once_and_without_a_word_and_nothing_is_written(sign, code, tmp_path):
    root, home, temporary = (tmp_path / name for name in ("runs", "home", "tmp"))
    make_study(root / "s")
    with (root / "s" / "audit.json").open("wb") as file:
        file.truncate(60_000_000)
    for folder in (home, temporary):
        folder.mkdir()
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    with dashboard(root, HOME=str(home), TMPDIR=str(temporary)) as (process, address):
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert answer.status == 200
        port = int(address.rstrip("/").rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port)),
            socket.create_connection(("127.0.0.1", port)) as stuck,
        ):
            stuck.sendall(b"GET /download/s/audit.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert stuck.recv(100)
            begun = time.monotonic()
            process.send_signal(sign)
            _, err = process.communicate(timeout=60)
            assert time.monotonic() - begun < 30
    assert process.returncode == code
    assert err == ""
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    assert [*home.rglob("*"), *temporary.rglob("*")] == []


def test_its_help_does_not_end_the_process_of_a_caller():
    program = (
        "import sys\n"
        "from fairpress.cli import main\n"
        "sys.argv = ['fairpress', 'dashboard', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    print('ended with', end.code)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "Ctrl-C stops it" in ran.stdout
    assert ran.stdout.rstrip().endswith("ended with 0")


# A thread that is within a native library when Python takes itself apart aborts the process.
BUSY = """
import os, signal, sys, threading, time
import duckdb
from fairpress.cli import main
from fairpress.dashboard import libraries

def load():
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    connection = duckdb.connect()
    while True:
        connection.sql("select sum(i) from range(1000) t(i)").fetchall()

libraries.load = load
sys.argv = ["fairpress", "dashboard", ".", "--port", "0"]
main()
"""


@posix
def test_a_signal_ends_it_while_a_thread_is_within_a_native_library(tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", BUSY],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (ran.returncode, ran.stderr) == (130, "")
    assert [*temporary.iterdir()] == []


def test_a_port_that_is_taken_is_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = subprocess.run(
            [*COMMAND, str(tmp_path), "--port", str(port)], capture_output=True, text=True, timeout=60
        )
    assert ran.returncode == 2
    assert ran.stderr == (
        f"fairpress: port {port} is in use; choose another --port, such as 0 for a free one.\n"
    )
