"""What fails is reported with its reason; what does not need it goes on; what was finished stays."""

from __future__ import annotations

import os
import sys

import pytest

from driver import chains
from fairpress.store.local import DamagedEntry, Store
from fairpress.studies.execution import executor
from fairpress.studies.execution.executor import execute
from saboteur import content, perform


@pytest.fixture(autouse=True)
def _sabotaged(monkeypatch):
    monkeypatch.setattr(executor, "perform", perform)


def performed(root):
    log = root / "performed"
    return log.read_text().split() if log.is_file() else []


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("raise", "ValueError: broken on purpose"),
        ("unpicklable", "Odd: two arguments"),
        ("exit", "SystemExit: 5"),
        pytest.param(
            "memory",
            "ran out of memory",
            marks=pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no RLIMIT_AS here"),
        ),
        ("kill always", "killed by SIGKILL .*twice"),
    ],
)
def test_a_failing_task_is_reported_what_reads_it_is_skipped_and_the_rest_goes_on(order, reason, tmp_path):
    import re

    tasks = chains(6)
    bad, reader = tasks[4], tasks[5]
    (tmp_path / bad.key).write_text(order)
    outcome = execute(tasks, Store(tmp_path), workers=2)
    assert list(outcome.failed) == [bad.key]
    assert re.search(reason, outcome.failed[bad.key])
    assert [t.key for t in outcome.skipped] == [reader.key]
    assert set(outcome.ran) == {t.key for t in tasks} - {bad.key, reader.key}
    # Mended, the same command does what is missing and nothing else.
    (tmp_path / bad.key).unlink()
    again = execute(tasks, Store(tmp_path), workers=2)
    assert set(again.ran) == {bad.key, reader.key}
    assert again.complete
    assert sorted(performed(tmp_path)) == sorted(t.key for t in tasks)


def test_a_task_whose_process_is_killed_once_is_done_by_another(tmp_path):
    tasks = chains(4)
    (tmp_path / tasks[2].key).write_text("kill once")
    outcome = execute(tasks, Store(tmp_path), workers=2)
    assert outcome.complete
    # The other worker's tasks were not done twice for it.
    assert sorted(performed(tmp_path)) == sorted(t.key for t in tasks)


def test_a_worker_that_dies_while_it_has_nothing_to_do_is_replaced(tmp_path):
    from fairpress.studies.planning.plan import make_task

    quick = make_task("naive", "quick", {"number": 0})
    slow = make_task("naive", "slow", {"number": 1, "sleep": 0.8})
    after = [make_task("join", f"after-{i}", {"number": i}, [slow.key, quick.key]) for i in range(4)]
    (tmp_path / quick.key).write_text("die later")
    outcome = execute([quick, slow, *after], Store(tmp_path), workers=2)
    assert outcome.complete
    assert len(performed(tmp_path)) == 6


@pytest.mark.parametrize("damage", ["flip", "truncate", "manifest", "file"])
def test_a_damaged_result_is_made_again_and_nothing_else(damage, tmp_path):
    tasks = chains(3)
    store = Store(tmp_path)
    execute(tasks, store, workers=2)
    file = store.path(tasks[3].key) / "x"
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[7] ^= 1
        file.write_bytes(data)
    elif damage == "truncate":
        os.truncate(file, 10)
    elif damage == "manifest":
        (file.parent / "entry.json").unlink()
    else:
        file.unlink()
    with pytest.warns(DamagedEntry, match=tasks[3].key[:12]):
        outcome = execute(tasks, store, workers=2)
    assert list(outcome.ran) == [tasks[3].key]
    assert store.get(tasks[3].key).files["x"] == content(tasks[3])


def test_the_longest_path_starts_first(tmp_path):
    from fairpress.studies.planning.plan import make_task

    first = make_task("naive", "short", {"number": 0})
    train = make_task("naive", "long", {"number": 1})
    tasks = [first, train, make_task("audit", "reader of long", {}, [train.key])]
    started = []
    execute(
        tasks,
        Store(tmp_path),
        workers=1,
        on_event=lambda event, task: started.append(task.recipe) if event == "started" else None,
    )
    assert started[0] == "long"
