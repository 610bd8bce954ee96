"""Studies on a Ray cluster of two nodes on this machine: the same results, whatever is lost on the way."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

import saboteur
from driver import chains
from fairpress.core.errors import UserError
from fairpress.store.local import Store
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.execution import executor
from fairpress.studies.execution.ray_engine import RayEngine, Resources, _difference_message
from fairpress.studies.run import run_study
from saboteur import content, perform

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

HERE = str(Path(saboteur.__file__).parent)


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of two nodes with a core each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    created = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    created.second = created.add_node(num_cpus=1)
    created.wait_for_nodes()
    yield created
    ray.shutdown()
    created.shutdown()


@pytest.mark.slow
def test_a_worker_and_a_node_are_lost_and_no_task_is(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "perform", perform)
    store = Store(tmp_path)
    tasks = chains(12, sleep=0.4)
    (tmp_path / tasks[0].key).write_text("kill once")
    (tmp_path / tasks[2].key).write_text("raise")
    events = []

    def lose_a_node():
        while sum(e == "finished" for e, _ in events) < 4:
            time.sleep(0.05)
        cluster.remove_node(cluster.second, allow_graceful=False)

    thread = threading.Thread(target=lose_a_node)
    thread.start()
    with RayEngine(cluster.address, store) as engine:
        assert engine.slots() == 2
        outcome = executor.execute(
            tasks, store, engine=engine, on_event=lambda e, t: events.append((e, t.key))
        )
    thread.join()
    assert outcome.failed == {tasks[2].key: "ValueError: broken on purpose"}
    assert [t.key for t in outcome.skipped] == [tasks[3].key]
    done = [t for t in tasks if t.key not in outcome.undone]
    assert len(done) == 22
    for task in done:
        assert store.get(task.key).files["x"] == content(task)
    # Each is recorded once, and told once.
    log = (tmp_path / "performed").read_text().split()
    assert sorted(log) == sorted(t.key for t in done)
    assert sum(e == "finished" for e, _ in events) == 22


@pytest.mark.slow
def test_a_task_that_kills_its_process_each_time_is_given_up_and_the_others_go_on(
    cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(executor, "perform", perform)
    store = Store(tmp_path)
    tasks = chains(3)
    (tmp_path / tasks[0].key).write_text("kill")
    with RayEngine(cluster.address, store, workers=2) as engine:
        outcome = executor.execute(tasks, store, engine=engine)
    (reason,) = outcome.failed.values()
    assert reason == "its process or its node was lost (WorkerCrashedError), 4 times."
    assert len(outcome.ran) == 4


@pytest.mark.slow
def test_a_study_gives_the_same_predictions_on_a_cluster_and_on_this_machine(cluster, data_folder, tmp_path):
    config = StudyConfig.model_validate(
        {
            "dataset": "compas",
            "model": {"name": "mlp", "widths": [8]},
            "training": {"max_epochs": 1},
            "recipes": ["int8", "prune-50(epochs=1)"],
            "seeds": 2,
            "networks_per_task": 1,
            "audit": {"by": ["sex"]},
        }
    )
    with RayEngine(cluster.address, Store(tmp_path / "far")) as engine:
        done = run_study("s", config, out=tmp_path / "a", store=tmp_path / "far", engine=engine)
    assert done.outcome.complete
    assert done.outcome.ran
    run_study("s", config, out=tmp_path / "b", store=tmp_path / "near", workers=1)
    for path in (p for p in (tmp_path / "a").rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path


def test_what_is_wrong_with_a_cluster_is_one_sentence(tmp_path):
    with pytest.raises(
        UserError, match=r"no Ray cluster responds at 127\.0\.0\.1:1 .*start one with `ray start --head`"
    ):
        RayEngine("127.0.0.1:1", Store(tmp_path))
    own = {"store": "seen", "torch": "2.14.1"}
    assert "node far does not see the store /x; give --store" in _difference_message(
        "far", "/x", own | {"store": "not seen"}, own
    )
    assert "node far has torch 2.13.0, this machine 2.14.1" in _difference_message(
        "far", "/x", own | {"torch": "2.13.0"}, own
    )
    assert Resources(2, 1, 10**9).options() == {"num_cpus": 2, "num_gpus": 1, "memory": 10**9}
