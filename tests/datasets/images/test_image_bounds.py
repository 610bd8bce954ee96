"""Archives and files that attack: nothing outside the target, nothing out of proportion, and the reason in a sentence."""

from __future__ import annotations

import os
import stat
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fairpress.core.errors import UserError
from fairpress.datasets.custom import table_file
from fairpress.datasets.custom.table_file import read_table
from fairpress.datasets.images import files, local_archives
from fairpress.datasets.images.files import digests
from fairpress.datasets.images.local_archives import unpacked


@pytest.fixture
def unpack(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))

    def unpack(*members):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return unpacked(tmp_path / "a.zip", lambda _: None)

    return unpack


def left_in(cache):
    return [path for path in cache.rglob("*") if path.suffix != ".lock" and not path.is_dir()]


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "C:/x.png", "..\\x.png"])
def test_no_file_lies_outside_the_target(unpack, tmp_path, name):
    with pytest.raises(UserError, match="would be written outside its folder"):
        unpack(("good.png", b"1"), (name, b"2"))
    assert left_in(tmp_path / "cache") == []
    assert not (tmp_path / "x.png").exists()


def test_a_link_in_an_archive_leads_nowhere(unpack):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    location = unpack((link, "/etc"), ("a.png", b"1"))
    assert not (location / "link").is_symlink()
    assert (location / "a.png").read_bytes() == b"1"


def test_an_archive_that_swells_is_refused(unpack, tmp_path, monkeypatch):
    monkeypatch.setattr(local_archives, "_MAX_UNPACKED_BYTES", 10**6)
    with pytest.raises(UserError, match="more than an archive of images can"):
        unpack(("a.png", bytes(2 * 10**6)))
    assert left_in(tmp_path / "cache") == []


def test_a_broken_member_leaves_nothing(unpack, tmp_path):
    unpack(("a.png", b"1"))  # the cache is set
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("b.png", b"0123456789" * 50)
    data = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(data.replace(b"0123456789", b"0123456780", 1))
    with pytest.raises(UserError, match="not a complete zip"):
        unpacked(tmp_path / "b.zip", lambda _: None)
    assert [path.name for path in left_in(tmp_path / "cache")] == ["a.png"]


def test_what_is_no_file_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "MAX_BYTES", 2**20)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(bytes(2**20 + 1))
    result, reasons = digests(tmp_path, ["pipe", "zero", "folder", "large"], lambda _: None)
    assert result == [None] * 4
    assert reasons == {
        "pipe": "a pipe",
        "zero": "a device",
        "folder": "a folder",
        "large": "larger than 1 MiB",
    }


def test_rows_out_of_all_proportion_to_a_file_are_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(table_file, "_MAX_MEMORY_BYTES", 2**22)
    monkeypatch.setattr(table_file, "_MAX_EXPANSION", 100)
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int8)), pa.array(["a"]))
    pq.write_table(pa.table({f"c{i}": same for i in range(3)}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"has 1,000,000 rows in .* keep only the rows"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_and_devices_are_no_tables(tmp_path, put):
    put(tmp_path / "t.csv")
    with pytest.raises(UserError, match=r"t\.csv is a (pipe|device), not a file"):
        read_table(tmp_path / "t.csv")


def test_too_many_columns_are_named(tmp_path):
    (tmp_path / "t.csv").write_text(",".join(f"c{i}" for i in range(20_001)) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="has 20,001 columns, and up to 20,000 are read"):
        read_table(tmp_path / "t.csv")
