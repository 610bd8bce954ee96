"""Scheduling, with tasks that take no time: what is asked of the store, and the clock of benchmarks/scheduling.py."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from driver import chains
from fairpress.store.local import Store
from fairpress.studies.execution import executor
from pages import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import scheduling


class Asked(Store):
    """Counts what is asked of it."""

    def __init__(self, root):
        super().__init__(root)
        self.asked = Counter()

    def get(self, key):
        self.asked["get"] += 1
        return super().get(key)

    def meta(self, key):
        self.asked["meta"] += 1
        return super().meta(key)

    def all_keys(self):
        self.asked["all_keys"] += 1
        return super().all_keys()


def test_200_tasks_on_8_workers_each_start_once_after_what_they_read(tmp_path, monkeypatch):
    tasks = chains(100)
    events = []
    monkeypatch.setattr(scheduling, "entry", lambda root, task: 0.0)
    clock = scheduling.Clock(8, lambda task: 5.0)
    outcome = scheduling.simulate(tasks, tmp_path, clock, lambda e, t: events.append((e, t)))
    assert Counter(e for e, _ in events) == {"started": 200, "finished": 200}
    assert len(outcome.ran) == 200
    over, running = set(), set()
    for event, task in events:
        if event == "started":
            assert over >= set(task.inputs)
            running.add(task.key)
            assert len(running) <= 8
        else:
            running.discard(task.key)
            over.add(task.key)
    # 200 tasks of five seconds on eight workers.
    assert scheduling.ideal(tasks, 8, lambda task: 5.0) == 125.0
    assert clock.now >= 125.0


def test_the_store_is_listed_and_not_asked_for_each_task_that_is_absent(tmp_path, monkeypatch):
    store, tasks = Asked(tmp_path), chains(20)
    clock = scheduling.Clock(2, lambda task: 1.0)
    with scheduling.replaced(wait=clock.wait, perform=lambda root, task: 0.0):
        assert executor.execute(tasks, store, engine=clock).complete
    assert store.asked["get"] == store.asked["meta"] == 0
    assert store.asked["all_keys"] <= 3
    # Of a finished study only what is read afterwards is looked at.
    for task in tasks:
        store.put(task.key, {"x": b""}, {})
    assert len(executor.execute(tasks, store).reused) == 40
    assert store.asked["get"] == 20


@pytest.mark.parametrize("broken", [0, 1])
def test_what_reads_a_failed_task_is_skipped(broken, tmp_path):
    tasks = chains(50)
    bad = {t.key for t in tasks if t.recipe.startswith("first")} if broken else set()

    def perform(root, task):
        if task.key in bad:
            raise ValueError("broken on purpose")
        return 0.0

    clock = scheduling.Clock(4, lambda task: 1.0)
    with scheduling.replaced(wait=clock.wait, perform=perform):
        outcome = executor.execute(tasks, Store(tmp_path), engine=clock)
    assert len(outcome.failed) == len(outcome.skipped) == 50 * broken
    assert outcome.undone == bad | {t.key for t in outcome.skipped}
