"""The state of an unfinished training, and what remains of it."""

from __future__ import annotations

import threading

import torch

from fairpress.training.checkpoints import FILE, TrainingCheckpoint, clear


def test_nothing_but_the_checkpoint_and_its_part_is_ever_in_the_folder(tmp_path):
    """A kill at any time must leave only names that `clear` knows."""
    checkpoint, seen, done = TrainingCheckpoint(tmp_path / "run" / "0", "key"), set(), threading.Event()
    checkpoint.prepare()

    def watch() -> None:
        while not done.is_set():
            seen.update(path.name for path in checkpoint.folder.iterdir())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(3):
            checkpoint.write({"weight": torch.zeros(2_000_000)}, {"epoch": 1})
    finally:
        done.set()
        watcher.join()
    assert seen == {FILE, f"{FILE}.part"}


def test_what_a_kill_left_is_cleared(tmp_path):
    checkpoint = TrainingCheckpoint(tmp_path / "run" / "0", "key")
    checkpoint.prepare()
    checkpoint.write({"weight": torch.zeros(2)}, {"epoch": 1})
    (checkpoint.folder / f"{FILE}.part").write_bytes(b"half")
    clear(tmp_path / "run")
    assert not (tmp_path / "run").exists()
