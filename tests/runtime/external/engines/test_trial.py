"""A file that crashes its runtime ends a process of its own, and the command goes on to say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import crashing_engine
from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.bounded import TooLong
from fairpress.runtime.external.engines import trial


@pytest.fixture
def file(tmp_path, monkeypatch):
    helpers = str(Path(crashing_engine.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([helpers, os.environ.get("PYTHONPATH", "")]))
    path = tmp_path / "m.tflite"
    path.write_bytes(b"x")
    return path


def test_a_crash_is_a_sentence_with_the_signal(file):
    with pytest.raises(
        UserError, match=r"LiteRT crashed on .*m\.tflite \(SIGSEGV\), in a process of its own"
    ):
        trial.try_in_child(crashing_engine.crash, file, Backend(), "LiteRT")


def test_a_file_that_never_returns_is_stopped(file, monkeypatch):
    monkeypatch.setattr(trial, "_START_SECONDS", 1.0)
    monkeypatch.setenv("FAIRPRESS_CALL_SECONDS", "0.5")
    with pytest.raises(TooLong, match="did not finish one row"):
        trial.try_in_child(crashing_engine.hang, file, Backend(), "LiteRT")


def test_what_opening_refuses_there_is_refused_here_in_the_same_words(file):
    with pytest.raises(UserError, match=r"^m\.tflite is refused for 3 threads\.$"):
        trial.try_in_child(crashing_engine.refuse, file, Backend(threads=3), "LiteRT")


def test_zeros_are_run_once_and_need_not_be_possible(file):
    for _ in range(2):
        trial.try_in_child(crashing_engine.work, file, Backend(), "LiteRT")
    assert file.with_suffix(".log").read_text() == "['y'] (1, 3) int32\n"
    file.write_bytes(b"another file")
    trial.try_in_child(crashing_engine.work, file, Backend(), "LiteRT")
    assert len(file.with_suffix(".log").read_text().splitlines()) == 2
