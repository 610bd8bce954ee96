"""Workers' fork server starts while a first study is planned, serves its workers, and ends if the plan fails."""

import os
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path
from textwrap import indent

import pytest

from fairpress.cli.study import study_run
from fairpress.core.errors import UserError
from fairpress.studies.execution.local_engine import LocalEngine, kill_server
from fairpress.studies.load import load
from fairpress.studies.run import run_study

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no fork server")


def running() -> int | None:
    """Return the process id of the fork server if it runs; a killed one is waited for."""
    pid = forkserver._forkserver._forkserver_pid
    if pid is None:
        return None
    try:
        return None if os.waitpid(pid, os.WNOHANG)[0] else pid
    except ChildProcessError:
        return None


def no_data(*_):
    raise UserError("the data is missing.")


@pytest.fixture
def no_server():
    server = forkserver._forkserver
    kill_server()
    if server._forkserver_pid is not None:
        os.waitpid(server._forkserver_pid, 0)
        os.close(server._forkserver_alive_fd)
        server._forkserver_pid = server._forkserver_alive_fd = server._forkserver_address = None


@pytest.fixture
def started(no_server, monkeypatch):
    """The process ids of the servers that were started early, in order."""
    found: list[int | None] = []
    real = LocalEngine.start_early

    def start(engine):
        real(engine)
        found.append(running())

    monkeypatch.setattr(LocalEngine, "start_early", start)
    return found


def test_workers_are_forked_by_the_server_that_was_started_early(no_server):
    engine = LocalEngine(1)
    engine.start_early()
    early = running()
    assert early is not None
    worker = engine.start_worker(True)
    assert worker.submit(None, os.getppid).result() == early
    worker.close()


STARTED = """
import re, signal
from multiprocessing import forkserver
from pathlib import Path
from fairpress.studies.execution.local_engine import LocalEngine, kill_server
LocalEngine(1).start_early()
status = Path(f"/proc/{forkserver._forkserver._forkserver_pid}/status").read_text()
(blocked,) = re.findall(r"SigBlk:\\s+(\\w+)", status)
kill_server()
print(int(blocked, 16) >> (signal.SIGINT - 1) & 1, len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="signals of a process are read from Linux")
def test_ctrl_c_ends_the_driver_and_prints_no_traceback_of_the_server(tmp_path):
    script = tmp_path / "start.py"
    script.write_text(f"if __name__ == '__main__':\n{indent(STARTED, '    ')}")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "1 0\n"


def test_a_study_whose_plan_fails_leaves_no_server(started, tmp_path, monkeypatch):
    monkeypatch.setattr("fairpress.studies.run.prepare", no_data)
    name, config = load("compas", [])
    with pytest.raises(UserError, match="the data is missing"):
        run_study(name, config, out=tmp_path / "compas")
    assert started[0] is not None
    os.waitpid(started[0], 0)  # returns because it was killed
    forkserver._forkserver._forkserver_pid = None


def test_a_store_with_results_starts_no_server_before_the_plan(no_server, tmp_path, monkeypatch):
    (tmp_path / ".store" / "entries" / "ab" / "abc").mkdir(parents=True)
    monkeypatch.setattr(LocalEngine, "start_early", lambda engine: pytest.fail("started"))
    monkeypatch.setattr("fairpress.studies.run.prepare", no_data)
    name, config = load("compas", [])
    with pytest.raises(UserError, match="the data is missing"):
        run_study(name, config, out=tmp_path / "compas")


def test_a_command_starts_the_server_before_it_reads_the_study_and_ends_it_if_there_is_none(
    started, tmp_path
):
    with pytest.raises(UserError, match="no-such-study"):
        study_run("no-such-study", out=tmp_path / "runs" / "first")
    assert started[0] is not None
    os.waitpid(started[0], 0)  # returns because it was killed
    forkserver._forkserver._forkserver_pid = None
    (tmp_path / "runs" / ".store").mkdir(parents=True)
    with pytest.raises(UserError, match="no-such-study"):
        study_run("no-such-study", out=tmp_path / "runs" / "first")
    assert len(started) == 1  # there may be results
