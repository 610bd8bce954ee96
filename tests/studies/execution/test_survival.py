"""Studies that are killed: finished work stays, nothing is half there, nothing stays behind running."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import driver as study_driver
from driver import chains
from fairpress.store.local import Store
from saboteur import content

DRIVER = Path(study_driver.__file__)
MARK = "FAIRPRESS_TEST_RUN"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found through /proc"),
]


def start(command, mark, **options):
    environment = {**os.environ, MARK: str(mark)}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def drive(root, *, mark, workers=2, count=20, sleep=0.05, size=1):
    return start([sys.executable, DRIVER, *map(str, (root, workers, count, sleep, size))], mark)


def ended(driver):
    """Return the exit code of a driver, its pipes read and closed."""
    driver.communicate(timeout=60)
    return driver.returncode


def processes(mark):
    """The processes started with a mark, by id, without those that have ended and wait to be taken note of."""
    result = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            ended = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if marked and not ended:
            result.append(int(folder.name))
    return result


def workers_of(driver, mark):
    """Processes that perform tasks: children of the server of processes, which is a child of the driver."""
    parents = {pid: _parent(pid) for pid in processes(mark)}
    return [p for p, parent in parents.items() if parent in parents and parents[parent] == driver.pid]


def _parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def gone(mark, seconds=15):
    """Wait for all processes of a mark to end; return those that do not."""
    end = time.monotonic() + seconds
    while (left := processes(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def states(root, tasks):
    store = Store(root)
    return [store.state(task.key) for task in tasks]


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def test_a_driver_killed_at_random_moments_leaves_whole_results_and_no_process(tmp_path):
    rng = random.Random(0)
    tasks = chains(20, 0.05)
    finished = 0
    for attempt in range(4):
        mark = f"{tmp_path}-{attempt}"
        driver = drive(tmp_path, mark=mark)
        # From before the first worker is there to the midst of the work.
        wait_for(lambda n=finished + 4 * attempt: states(tmp_path, tasks).count("complete") >= n)
        time.sleep(rng.random() * 0.1)
        driver.kill()
        driver.communicate()
        assert not gone(mark)
        result = states(tmp_path, tasks)
        assert "damaged" not in result
        assert result.count("complete") >= finished
        finished = result.count("complete")
    assert 0 < finished < len(tasks)
    left = drive(tmp_path, mark=tmp_path)
    left.communicate()
    assert left.returncode == 0
    assert set(states(tmp_path, tasks)) == {"complete"}
    assert not list((tmp_path / "unfinished").glob("*"))
    assert all(Store(tmp_path).get(t.key).files["x"] == content(t) for t in tasks)


def test_workers_killed_at_random_moments_are_replaced_and_lose_their_own_task_alone(tmp_path):
    rng = random.Random(1)
    tasks = chains(20, 0.05)
    driver = drive(tmp_path, mark=tmp_path)
    killed = 0
    while driver.poll() is None and killed < 8:
        time.sleep(0.1 + rng.random() * 0.1)
        victims = workers_of(driver, tmp_path)
        if victims:
            try:
                os.kill(rng.choice(victims), signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                continue
    _, message = driver.communicate(timeout=60)
    assert killed >= 3
    result = states(tmp_path, tasks)
    assert "damaged" not in result
    if driver.returncode:  # a task may have been hit twice
        assert driver.returncode == 3
        assert "killed by SIGKILL" in message or "nobody knows how" in message
        assert ended(drive(tmp_path, mark=tmp_path)) == 0
    assert set(states(tmp_path, tasks)) == {"complete"}
    assert not gone(tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_study_says_so_ends_its_workers_and_goes_on_from_there(
    number, code, tmp_path, data_folder
):
    study = ["study", "run", "compas", "seeds=1", "folds=2", "model.widths=[8]", "training.max_epochs=1"]
    # Through main, as the installed command does; SIGINT counts, also where these tests run in the background of a shell.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [
        *(sys.executable, "-c", heard + "from fairpress.cli import main; main()"),
        *(*study, "recipes=[int8]"),
    ]
    run = start(command, tmp_path, cwd=tmp_path)
    wait_for(lambda: workers_of(run, tmp_path) or run.poll() is not None, 120)
    run.send_signal(number)
    _, message = run.communicate(timeout=30)
    assert run.returncode == code, message
    assert "interrupted; finished work is kept" in message
    assert "Traceback" not in message
    assert not gone(tmp_path)
    # Of the study's folder there is only what says that it waits to go on.
    assert {p.name for p in (tmp_path / "runs" / "compas").glob("*")} <= {"progress.json"}


def test_two_drivers_on_one_store_do_each_task_once(tmp_path):
    tasks = chains(15, 0.05)
    drivers = [drive(tmp_path, mark=tmp_path, workers=1, count=15) for _ in range(2)]
    for driver in drivers:
        _, message = driver.communicate(timeout=90)
        assert driver.returncode == 0, message
    performed = (tmp_path / "performed").read_text().split()
    assert sorted(performed) == sorted(t.key for t in tasks)
    assert set(states(tmp_path, tasks)) == {"complete"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=False)


def test_a_full_disk_fails_what_does_not_fit_keeps_the_rest_and_is_made_up_for_later(small_disk, tmp_path):
    tasks = chains(10)  # 20 results of 256 KB
    driver = drive(small_disk, mark=tmp_path, count=10, sleep=0, size=4096)
    _, message = driver.communicate(timeout=60)
    assert driver.returncode == 3
    assert "cannot write results" in message
    assert "No space left on device" in message
    tasks = chains(10, 0.0, 4096)
    result = states(small_disk, tasks)
    assert 4 <= result.count("complete") < 20
    assert "damaged" not in result
    assert not list((small_disk / "unfinished").glob("*"))
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    driver = drive(small_disk, mark=tmp_path, count=10, sleep=0, size=4096)
    driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert set(states(small_disk, tasks)) == {"complete"}


def test_a_killed_workers_semaphores_are_nobodys_complaint(tmp_path):
    script = """
import pathlib
import sys
import time
from fairpress.studies.execution.local_engine import Worker, kill_server

if __name__ == "__main__":
    worker = Worker()
    there = pathlib.Path(sys.argv[1])
    made = "import multiprocessing, time; kept = multiprocessing.RLock(); open({!r}, 'w').close(); time.sleep(60)"
    worker.submit(None, exec, made.format(str(there)))
    while not there.exists():
        time.sleep(0.05)
    worker.kill()
    kill_server()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "there")], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_killed_driver_leaves_nothing_in_TMPDIR_that_the_next_does_not_remove(tmp_path, monkeypatch):
    path = tmp_path / "t"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    store = tmp_path / "store"
    tasks = chains(20, 0.05)
    driver = drive(store, mark=tmp_path)
    wait_for(lambda: states(store, tasks).count("complete") >= 4, 90)
    assert [p.name.startswith("fairpress-tmp-") for p in path.iterdir()] == [True]
    driver.kill()
    driver.communicate()
    assert not gone(tmp_path)
    # The workers see to it as they end; where they were killed too, the next study does.
    assert not list(path.iterdir())
    assert ended(drive(store, mark=tmp_path)) == 0
    assert not list(path.iterdir())


def test_a_long_TMPDIR_keeps_no_study_from_running(tmp_path, monkeypatch):
    path = tmp_path / ("t" * 100)  # the name of a socket has 107 bytes
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    driver = drive(tmp_path / "store", mark=tmp_path, count=1)
    _, message = driver.communicate(timeout=120)
    assert (driver.returncode, message) == (0, "")
    assert not list(path.iterdir())
