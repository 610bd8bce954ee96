"""The store keeps complete results and nothing else."""

from __future__ import annotations

import pytest

from fairpress.core.canonical import digest
from fairpress.core.errors import UserError
from fairpress.store.content import DamagedEntry, Store


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
