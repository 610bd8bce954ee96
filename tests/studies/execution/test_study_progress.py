"""A study's progress: one bar with the time left on a terminal, a line for each task that ran elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from fairpress.studies.execution.progress import StudyProgress
from fairpress.studies.execution.time_left import TimeLeft
from fairpress.studies.planning.plan import make_task

TASKS = [make_task("train", f"network {i}", {"seed": i}, ()) for i in range(4)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def follow(progress, clock):
    with progress:
        progress.plan(TASKS)
        progress.event("reused", TASKS[0])
        for task in TASKS[1:]:
            progress.event("started", task)
            clock.now += 60
            progress.event("finished", task)


def test_a_terminal_has_one_bar_with_the_time_left(monkeypatch):
    stream, clock = Terminal(), Clock()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    shown = []
    progress = StudyProgress(time_left=TimeLeft(clock=clock))
    with progress:
        progress.plan(TASKS)
        progress.event("started", TASKS[1])
        clock.now += 60
        progress.event("finished", TASKS[1])
        progress._bar.refresh()
        shown.append(stream.getvalue())
    assert "1/4" in shown[0]
    assert "about 3 min left" in shown[0]
    assert "finished train network 1" in shown[0]


def test_a_terminal_says_what_follows_the_last_task(monkeypatch):
    stream, clock = Terminal(), Clock()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    progress = StudyProgress(time_left=TimeLeft(clock=clock))
    with progress:
        progress.plan(TASKS)
        for task in TASKS:
            progress.event("started", task)
            clock.now += 60
            progress.event("finished", task)
        stream.seek(0)
        stream.truncate()
        progress._bar.refresh()
        shown = stream.getvalue()
    assert "writing the report" in shown
    assert "left" not in shown


def test_elsewhere_each_task_that_ran_is_a_line(monkeypatch):
    stream, clock = io.StringIO(), Clock()
    monkeypatch.setattr(sys, "stderr", stream)
    follow(StudyProgress(time_left=TimeLeft(clock=clock)), clock)
    assert stream.getvalue().splitlines() == [
        "[2/4] finished train network 1",
        "[3/4] finished train network 2",
        "[4/4] finished train network 3",
    ]


@pytest.mark.parametrize("count", [0, 1])
def test_a_study_without_work_has_no_time_left(count):
    left = TimeLeft(clock=Clock())
    left.plan(TASKS[:count])
    for task in TASKS[:count]:
        left.event("reused", task)
    assert left.seconds() is None
