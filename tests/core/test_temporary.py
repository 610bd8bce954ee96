"""Temporary files are in one folder of the process, of which nothing is left; where it was killed, the next removes it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fairpress.core import temporary
from fairpress.core.errors import UserError

KILLED = """
import os, signal, tempfile
from fairpress.core import temporary
with temporary.use_as_tmpdir(temporary.folder()):
    tempfile.mkdtemp()
    {}
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A TMPDIR."""
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def run(code, path):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(path)}, capture_output=True, text=True
    )


def test_a_process_that_ends_leaves_nothing_and_one_that_is_killed_what_the_next_removes(path):
    assert run(KILLED.format("pass"), path).returncode == 0
    assert not list(path.iterdir())
    assert run(KILLED.format("os.kill(os.getpid(), signal.SIGKILL)"), path).returncode < 0
    (left,) = path.iterdir()
    assert {p.name for p in left.iterdir()} > {"owner"}
    assert temporary.sweep() == 1
    assert not list(path.iterdir())


def test_what_a_living_process_holds_and_what_is_a_users_stays(path):
    (path / "fairpress-tmp-notes").mkdir()
    with temporary.private_folder() as folder:
        assert Path(tempfile.gettempdir()) == folder
        assert os.environ["TMPDIR"] == str(folder)
        assert temporary.system_folder() == path
        run(KILLED.format("pass"), path)
        assert folder.is_dir()
    assert tempfile.gettempdir() == str(path)
    assert [p.name for p in path.iterdir()] == ["fairpress-tmp-notes"]


def test_a_command_leaves_nothing_but_the_log_of_a_crash(path):
    code = "from fairpress.cli import main; main(['doctor'])"
    assert run(code, path).returncode == 0
    assert not list(path.iterdir())
    crash = (
        "import fairpress.cli as c\ndef f(*a, **k): raise ValueError('odd')\nc.app = f\nc.main(['doctor'])"
    )
    done = run(crash, path)
    assert done.returncode == 70
    (log,) = path.iterdir()
    assert log.name.startswith("fairpress-error-")
    assert str(log) in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_or_read_only_disk_is_no_crash_but_a_sentence(number, path):
    code = (
        f"import os, fairpress.cli as c\n"
        f"def f(*a, **k): raise OSError({number}, os.strerror({number}), 'far/x')\nc.app = f\nc.main(['doctor'])"
    )
    done = run(code, path)
    assert done.returncode == 2
    assert "(far/x)" in done.stderr
    assert ("TMPDIR" in done.stderr) == (number != errno.EROFS)
    assert not list(path.iterdir())


def test_a_folder_without_room_names_TMPDIR(path):
    assert temporary.space_error(path, 1) is None
    error = temporary.space_error(path, 10**18)
    assert isinstance(error, UserError)
    assert f"TMPDIR ({path}) is full" in str(error)
