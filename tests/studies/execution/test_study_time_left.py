"""The time left of a study follows from the work done so far, by what its tasks took earlier or usually take."""

from __future__ import annotations

import pytest

from fairpress.studies.execution.time_left import TimeLeft, duration_text
from fairpress.studies.planning.plan import make_task


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def tasks(count):
    return [make_task("train", f"t{i}", {"seed": i}, ()) for i in range(count)]


def test_half_of_the_work_in_a_minute_leaves_a_minute():
    clock = Clock()
    left, planned = TimeLeft(lambda task: 10.0, clock), tasks(4)
    left.plan(planned)
    assert left.seconds() is None
    for task in planned[:2]:
        left.event("started", task)
    clock.now += 60
    for task in planned[:2]:
        left.event("finished", task)
    assert left.seconds() == pytest.approx(60)
    clock.now += 20
    assert left.seconds() == pytest.approx(40)
    clock.now += 100
    assert left.seconds() == 0


def test_tasks_weigh_what_they_took_earlier():
    clock = Clock()
    short, long = tasks(2)
    left = TimeLeft(lambda task: 1.0 if task is short else 9.0, clock)
    left.plan([short, long])
    left.event("started", short)
    clock.now += 2
    left.event("finished", short)
    assert left.seconds() == pytest.approx(18)


def test_reused_results_are_no_work():
    clock = Clock()
    left, planned = TimeLeft(clock=clock), tasks(3)
    left.plan(planned)
    left.event("reused", planned[0])
    assert left.seconds() is None
    left.event("started", planned[1])
    clock.now += 5
    left.event("finished", planned[1])
    assert left.seconds() == pytest.approx(5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "about 1 s left"),
        (89, "about 89 s left"),
        (600, "about 10 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_a_duration_is_said_in_a_unit_that_people_read(seconds, text):
    assert duration_text(seconds) == text
