"""The store keeps complete results and nothing else."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import threading
import time
import warnings

import pytest

from fairpress.core.canonical_json import digest
from fairpress.core.errors import UserError
from fairpress.store.local import DamagedEntry, Store
from mounts import read_only


def test_what_is_put_is_got(tmp_path):
    store = Store(tmp_path)
    assert store.get("a" * 64) is None
    store.put("a" * 64, {"x.bin": b"\x00\x01"}, {"kind": "train"})
    entry = store.get("a" * 64)
    assert entry is not None
    assert entry.files == {"x.bin": b"\x00\x01"}
    assert entry.meta == {"kind": "train"}


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest"])
def test_a_damaged_entry_is_removed_with_a_warning_and_can_be_made_again(tmp_path, damage):
    store = Store(tmp_path)
    store.put("b" * 64, {"x.bin": b"hello"}, {})
    file = store.path("b" * 64) / "x.bin"
    if damage == "flip":
        file.write_bytes(b"hellp")
    elif damage == "truncate":
        file.write_bytes(b"he")
    elif damage == "delete":
        file.unlink()
    else:
        (file.parent / "entry.json").write_text("{")
    with pytest.warns(DamagedEntry, match="damaged"):
        assert store.get("b" * 64) is None
    store.put("b" * 64, {"x.bin": b"hello"}, {})
    assert store.get("b" * 64).files == {"x.bin": b"hello"}


def test_a_file_that_was_put_into_an_entry_is_noticed_and_kept(tmp_path):
    store, key = Store(tmp_path), "b" * 64
    store.put(key, {"x.bin": b"hello"}, {})
    for name in (".DS_Store", "._x.bin", ".nfs0001"):
        (store.path(key) / name).write_bytes(b"of the system's")
    assert store.get(key) is not None
    for _ in range(2):
        (store.path(key) / "notes.txt").write_text("mine")
        assert store.state(key) == "damaged"
        with pytest.warns(
            DamagedEntry, match=r"notes\.txt in it was not written by fairpress and is moved to"
        ):
            assert store.get(key) is None
        assert store.state(key) == "absent"
        store.put(key, {"x.bin": b"hello"}, {})
    assert sorted(p.name for p in (tmp_path / "foreign" / key).iterdir()) == ["notes.txt", "notes.txt.1"]
    assert store.sweep() == 0
    assert store.state(key) == "complete"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_file_in_an_entry_is_not_read(tmp_path, kind):
    store, key = Store(tmp_path), "b" * 64
    store.put(key, {"x.bin": b"hello"}, {})
    file = store.path(key) / "x.bin"
    if kind == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.unlink()
        (os.mkfifo if kind == "pipe" else os.mkdir)(file)
    assert store.state(key) == "damaged"


READ = """
import os, sys, warnings
from fairpress.store.local import ReadOnlyStore, Store
store = Store(sys.argv[1])
assert store.read_only
assert store.get("a" * 64).files == {"x": b"1"}
warnings.simplefilter("ignore")
assert store.get("b" * 64) is None
assert store.path("b" * 64).is_dir()
with store.lock("a" * 64), store.lock("c" * 64, wait=False):
    pass
store.remember("c" * 64, {"x": b"1"}, {})
assert store.sweep() == 0
try:
    store.put("c" * 64, {"x": b"1"}, {})
except ReadOnlyStore as error:
    print(error)
"""


def test_a_store_that_can_only_be_read_is_read(tmp_path):
    store = Store(tmp_path / "store")
    for key in ("a" * 64, "b" * 64):
        store.put(key, {"x": b"1"}, {})
    (store.path("b" * 64) / "x").write_bytes(b"2")
    assert not store.read_only
    done = read_only(store.root, [sys.executable, "-c", READ, str(store.root)])
    assert done.returncode == 0, done.stderr
    assert "cannot write results to" in done.stdout
    assert not (store.root / "unfinished").exists() or not list((store.root / "unfinished").iterdir())


def test_the_second_of_two_equal_writers_does_not_fail(tmp_path):
    store = Store(tmp_path)
    store.put("c" * 64, {"x": b"1"}, {})
    store.put("c" * 64, {"x": b"1"}, {})
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write results"):
        Store(tmp_path / "file").put("d" * 64, {"x": b"1"}, {})


def test_the_order_of_keys_does_not_change_a_digest():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def _hammer(root: str, seed: int, seconds: float) -> None:
    """Damage, read, make and remove one entry at random; end with 1 when something wrong was read."""
    rng = random.Random(seed)
    store, key, end = Store(root), "e" * 64, time.monotonic() + seconds
    while time.monotonic() < end:
        what = rng.random()
        if what < 0.1:
            with contextlib.suppress(OSError):
                (store.path(key) / "x").write_bytes(b"damaged")
        elif what < 0.2:
            store.remove(key)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DamagedEntry)
                entry = store.get(key)
            if entry is None:
                with store.lock(key):
                    store.put(key, {"x": b"right" * 1000, "y": b"1"}, {"by": seed})
            elif entry.files != {"x": b"right" * 1000, "y": b"1"}:
                sys.exit(1)


def test_processes_that_read_make_damage_and_remove_one_entry_never_read_anything_wrong(tmp_path):
    context = multiprocessing.get_context("spawn")
    crowd = [context.Process(target=_hammer, args=(str(tmp_path), seed, 1.5)) for seed in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join(60)
    assert [process.exitcode for process in crowd] == [0, 0, 0]
    assert not list((tmp_path / "unfinished").iterdir())


def test_who_finds_an_entry_damaged_does_not_remove_what_another_has_made_meanwhile(tmp_path):
    store = Store(tmp_path)
    key = "f" * 64
    store.put(key, {"x": b"hello"}, {})
    first = store._read
    calls = []

    def late(key: str):
        """Another process removes and makes the entry again between the first look and the lock."""
        result = first(key)
        calls.append(result)
        if len(calls) == 1:
            (store.path(key) / "x").unlink()
            damaged = first(key)
            shutil.rmtree(store.path(key))
            Store(tmp_path).put(key, {"x": b"hello"}, {})
            return damaged
        return result

    store._read = late
    assert store.get(key).files == {"x": b"hello"}
    assert Store(tmp_path).state(key) == "complete"


def test_an_entry_that_somebody_is_making_is_not_there_yet(tmp_path):
    store = Store(tmp_path)
    key = "a" * 64
    store.put(key, {"x": b"hello"}, {})
    (store.path(key) / "x").write_bytes(b"damaged")
    held, go = threading.Event(), threading.Event()

    def hold():
        with Store(tmp_path).lock(key):
            held.set()
            go.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    held.wait(10)
    assert store.get(key) is None  # without waiting and without removing
    go.set()
    other.join()
    assert store.state(key) == "damaged"


def test_what_a_killed_writer_left_is_swept_and_what_is_being_written_stays(tmp_path):
    store = Store(tmp_path)
    for key in ("1" * 64, "2" * 64):
        (tmp_path / "unfinished" / key).mkdir(parents=True)
        (tmp_path / "unfinished" / key / "x").write_bytes(b"half")
    held, go = threading.Event(), threading.Event()

    def hold():
        with Store(tmp_path).lock("2" * 64):
            held.set()
            go.wait(10)

    writer = threading.Thread(target=hold)
    writer.start()
    held.wait(10)
    assert store.sweep() == 1
    assert [p.name for p in (tmp_path / "unfinished").iterdir()] == ["2" * 64]
    go.set()
    writer.join()
    assert store.sweep() == 1


def test_an_entry_without_manifest_is_damaged_and_made_again_even_unseen(tmp_path):
    store = Store(tmp_path)
    key = "b" * 64
    store.put(key, {"x": b"1"}, {})
    (store.path(key) / "entry.json").unlink()
    assert store.state(key) == "damaged"
    assert store.meta(key) is None
    store.put(key, {"x": b"1"}, {"seconds": 1})
    assert store.state(key) == "complete"
    assert store.meta(key) == {"seconds": 1}
