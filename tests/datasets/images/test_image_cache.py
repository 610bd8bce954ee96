"""The cache of decoded images: right, decoded once, noticed when a file or the cache itself has changed."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest

from faces import jpeg, make_faces
from fairpress import datasets
from fairpress.core.errors import UserError
from fairpress.datasets.download.sources import DamagedFile
from fairpress.datasets.images import cache, files
from fairpress.datasets.images.cache import decode_all
from fairpress.datasets.images.decode import decode

SIZE = 16


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    make_faces(tmp_path / "faces", 70)  # more than one chunk
    for path in (tmp_path / "faces").iterdir():
        os.utime(path, (1e9, 1e9))
    return tmp_path / "faces"


def pixels(folder, names=None):
    return decode_all(folder, names or sorted(os.listdir(folder)), SIZE, lambda _: None)


def entry(tmp_path):
    (result,) = [p for p in (tmp_path / "cache" / "images").glob("??/*") if p.is_dir()]
    return result


def forbid(monkeypatch, module, name):
    def forbidden(*_):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(module, name, forbidden)


def test_rows_are_the_files_in_the_order_asked_for(folder):
    names = sorted(os.listdir(folder))[::-1]
    result = pixels(folder, names)
    expected = np.stack([decode((folder / n).read_bytes(), SIZE) for n in names])
    np.testing.assert_array_equal(result.array, expected)
    assert result.rows.tolist() == list(range(70))


def test_the_second_time_nothing_is_decoded_nor_read(folder, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_NS", -(10**18))  # as if the files had lain there for long
    first = pixels(folder)
    forbid(monkeypatch, cache, "decode")
    forbid(monkeypatch, files, "_sha256")
    again = pixels(folder)
    np.testing.assert_array_equal(again.array, first.array)
    assert again.digests.tolist() == first.digests.tolist()


def test_files_that_are_just_being_written_are_not_remembered(folder):
    pixels(folder)
    (memory,) = (files.cache_folder() / "images" / "digests").iterdir()
    assert files._read(memory) == {}  # their status changed within the last two seconds


def test_a_file_that_was_exchanged_under_its_old_time_is_noticed(folder, monkeypatch):
    monkeypatch.setattr(files, "SETTLED_NS", -(10**18))
    name = sorted(os.listdir(folder))[3]
    before = pixels(folder)
    old = (folder / name).stat()
    data = bytearray((folder / name).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = data[middle : middle + 40][::-1]
    time.sleep(0.02)  # a tick of the clock that stamps files
    (folder / name).write_bytes(data)
    os.utime(folder / name, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (folder / name).stat().st_size == old.st_size
    after = pixels(folder)
    assert [i for i in range(70) if after.digests[i] != before.digests[i]] == [3]
    assert (after.array[3] != before.array[3]).any()


@pytest.mark.parametrize("harm", ["change", "cut", "no entry", "no JSON"])
def test_a_damaged_cache_is_made_again(folder, tmp_path, harm):
    first = np.array(pixels(folder).array)
    location = entry(tmp_path)
    data = bytearray((location / "pixels.u8").read_bytes())
    if harm == "change":
        data[1000] ^= 1
        (location / "pixels.u8").write_bytes(data)
    elif harm == "cut":
        (location / "pixels.u8").write_bytes(data[:-5])
    elif harm == "no entry":
        (location / "entry.json").unlink()
    else:
        (location / "entry.json").write_text("{")
    with pytest.warns(DamagedFile, match="will be decoded again"):
        again = pixels(folder)
    np.testing.assert_array_equal(again.array, first)
    np.testing.assert_array_equal(pixels(folder).array, first)


def test_what_a_killed_run_left_is_no_entry(folder, tmp_path):
    first = np.array(pixels(folder).array)
    location = entry(tmp_path)
    shutil.move(location, location.with_name(f"{location.name}.part"))
    np.testing.assert_array_equal(pixels(folder).array, first)
    assert not location.with_name(f"{location.name}.part").exists()


def test_checksums_go_by_blocks_however_the_bytes_come(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "BLOCK_BYTES", 10)
    data = bytes(range(34))
    (tmp_path / "f").write_bytes(data)
    for step in (3, 10, 34):
        sums = cache._Checksums()
        for start in range(0, 34, step):
            sums.add(data[start : start + step])
        assert sums.finish() == cache._checksums(tmp_path / "f")
    assert len(cache._checksums(tmp_path / "f")) == 4


def test_a_file_that_changes_while_it_is_read_is_refused(folder):
    name = sorted(os.listdir(folder))[0]
    with pytest.raises(UserError, match="is changing while it is read"):
        cache._one(str(folder / name), "0" * 64, SIZE)


def test_files_that_cannot_be_read_are_named_with_the_reason(folder):
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("hello")
    (folder / "a folder.jpg").mkdir()
    result = pixels(folder, ["absent.jpg", *sorted(os.listdir(folder))])
    assert result.unreadable == {
        "absent.jpg": "there is no such file",
        "a folder.jpg": "a folder",
        "empty.jpg": "empty",
        "text.jpg": "not an image of a known format",
    }
    assert len(result.array) == len(result.rows) == len(result.digests) == 70


def test_a_cache_that_cannot_be_written_is_one_sentence(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set FAIRPRESS_CACHE to another folder"):
        pixels(folder)


def load(folder, **options):
    return datasets.load("utkface", on_message=lambda _: None, size=SIZE, folder=str(folder), **options)


def test_the_data_are_mapped_and_handing_them_on_copies_nothing(folder):
    data = load(folder)
    assert isinstance(data.inputs, np.memmap)
    assert np.shares_memory(data.development().inputs, data.inputs)
    before = int(data.inputs[0, 0, 0, 0])
    data.inputs[0, 0, 0, 0] ^= 255  # a mistake in somebody's code does not reach the cache
    assert load(folder).inputs[0, 0, 0, 0] == before


def test_the_fingerprint_is_of_the_content_wherever_it_lies(folder, tmp_path, monkeypatch):
    first = load(folder).fingerprint
    shutil.copytree(folder, tmp_path / "other")
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "another cache"))
    assert load(tmp_path / "other").fingerprint == first
    assert load(folder, split_seed=1).fingerprint != first
    path = next((tmp_path / "other").iterdir())
    path.write_bytes(jpeg(np.zeros((32, 32, 3), np.uint8)))
    assert load(tmp_path / "other").fingerprint != first
