"""Loops that are counted say how long they still take, to whoever listens."""

from __future__ import annotations

import pytest

from fairpress.core.time_left import counted, describe_seconds, listening


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_is_extrapolated_from_the_finished_share() -> None:
    clock, heard = Clock(), list[str]()
    with listening(heard.append, clock):
        for _ in counted(range(8), "rounding layers"):
            clock.now += 6.0
    # 12 s: 2 of 8 done, 6 left of 6 s each; then not before 15 s have gone by
    assert heard == ["rounding layers: 2 of 8, about 35 s left", "rounding layers: 5 of 8, about 18 s left"]


def test_a_loop_within_a_unit_is_a_part_of_that_unit() -> None:
    clock, heard = Clock(), list[str]()
    with listening(heard.append, clock):
        for _ in counted(range(2), "blocks"):
            for _ in counted((step for step in range(10)), "steps", 10):
                clock.now += 5.0
    assert heard[0] == "blocks: 0 of 2, about 2 min left"  # 2 of 20 steps in 10 s
    assert heard[-1] == "blocks: 1 of 2, about 15 s left"  # 17 of 20 in 85 s


def test_each_step_has_its_time_and_a_loop_that_is_left_early_does_not_count_on() -> None:
    clock, heard = Clock(), list[str]()
    with listening(heard.append, clock):
        for _ in counted(range(100), "first"):
            clock.now += 9.0
            break
        for _ in counted(range(3), "second"):
            clock.now += 11.0
    assert heard == ["second: 1 of 3, about 20 s left"]


def test_quick_loops_and_loops_without_a_listener_are_silent() -> None:
    heard: list[str] = []
    with listening(heard.append, Clock()):
        assert list(counted("abc", "letters")) == ["a", "b", "c"]
    with listening(None):
        assert list(counted("abc", "letters")) == ["a", "b", "c"]
    assert list(counted(iter("abc"), "letters")) == ["a", "b", "c"]
    assert heard == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (7.6, "8 s"), (43, "45 s"), (100, "2 min"), (9000, "2.5 h")]
)
def test_times_are_as_exact_as_a_prediction(seconds: float, text: str) -> None:
    assert describe_seconds(seconds) == text
