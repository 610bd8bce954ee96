"""What can stand in the way of an output: links, devices, hostile manifests, long names, killed writers, two at once."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fairpress.core import exchange, files
from fairpress.core.errors import UserError
from fairpress.core.files import digest, hidden_path, locked, write_text, write_together
from fairpress.core.output import (
    MANIFEST,
    check_apart,
    check_files,
    check_folder,
    check_into,
    is_fairpress_file,
    sealed,
    user_files,
    write_file,
    write_files,
    write_folder,
    write_into,
)

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and locks of POSIX")


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@posix
def test_hidden_files_and_links_of_the_user_are_neither_filled_nor_removed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    for name in (".a.html.part", ".a.html", ".b"):
        (tmp_path / name).symlink_to("mine")
    write_text(tmp_path / "a.html", "page")
    write_files(tmp_path, {"b": b"1"})
    assert (tmp_path / "mine").read_text() == "mine"
    assert names(tmp_path) == [".a.html", ".a.html.part", ".b", MANIFEST, "a.html", "b", "mine"]


@posix
@pytest.mark.parametrize("name", ["../mine.txt", "/etc/hostname", "a/../../mine.txt", "link/mine.txt"])
def test_a_hostile_manifest_removes_nothing_outside_its_folder(tmp_path, name):
    (tmp_path / "mine.txt").write_bytes(b"mine")
    study = tmp_path / "study"
    study.mkdir()
    (study / "link").symlink_to("..")
    result = {"schema": "fairpress.files/1", "files": {name: [digest(b"mine")]}}
    (study / MANIFEST).write_text(json.dumps(result))
    try:
        write_files(study, {"report.html": b"1"})
    except UserError as error:
        assert MANIFEST in str(error)  # noqa: PT017  some of them are no manifest, others name what is behind a link
    assert (tmp_path / "mine.txt").read_bytes() == b"mine"


@posix
def test_a_part_of_a_name_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "study").mkdir()
    (tmp_path / "study/figures").symlink_to("../elsewhere")
    with pytest.raises(UserError, match=r"under names it would write .figures"):
        write_files(tmp_path / "study", {"figures/a.svg": b"1"})
    assert names(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("text", ['{"my": "settings"}', "", "[" * 100_000])
def test_a_file_with_the_name_of_the_manifest_is_the_users(tmp_path, text):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=r"did not write .*fairpress.json"):
        write_folder(tmp_path / "m", {"a": b"1"}, force=True)
    for write in (
        lambda: write_into(tmp_path / "m", "a", b"1", force=True),
        lambda: write_files(tmp_path / "m", {"a": b"1"}),
    ):
        with pytest.raises(UserError, match="is not a manifest of fairpress, or is damaged"):
            write()
    assert names(tmp_path / "m") == [MANIFEST]
    assert (tmp_path / "m" / MANIFEST).read_text() == text


@posix
def test_pipes_and_devices_are_neither_read_nor_replaced(tmp_path):
    os.mkfifo(tmp_path / "p.html")
    for force in (False, True):
        with pytest.raises(UserError, match=r"p.html is a pipe, a socket or a device"):
            check_files({"--html": tmp_path / "p.html"}, force=force)
        with pytest.raises(UserError, match="/dev/null is a pipe, a socket or a device"):
            write_file("/dev/null", "page", kind=".html", force=force)
    with pytest.raises(UserError, match="cannot write /dev/null: it is a pipe"):
        write_text("/dev/null", "page")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    (tmp_path / "m").mkdir()
    os.mkfifo(tmp_path / "m" / MANIFEST)
    assert user_files(tmp_path / "m") == [MANIFEST]


@posix
def test_a_hard_link_of_an_input_is_the_input(tmp_path):
    (tmp_path / "t.csv").write_text("label\n")
    os.link(tmp_path / "t.csv", tmp_path / "a.html")
    with pytest.raises(UserError, match=r"a.html is an input"):
        check_files({"--html": tmp_path / "a.html"}, inputs=[tmp_path / "t.csv"], force=True)


def test_an_output_does_not_lie_in_another(tmp_path):
    with pytest.raises(UserError, match="lie inside each other"):
        check_apart({"--html": tmp_path / "a", "--markdown": tmp_path / "a/b.md"})


@posix
def test_links_in_a_circle_are_named(tmp_path):
    (tmp_path / "l").symlink_to("l")
    with pytest.raises(UserError, match=r"symbolic link"):
        check_folder(tmp_path / "l/m")


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "a\nb", " a ", "-", "~"])
def test_every_name_that_a_file_can_have_can_be_written(tmp_path, name):
    write_folder(tmp_path / "folders" / name, {"a": b"1"})
    write_folder(tmp_path / "folders" / name, {"a": b"2"}, force=True)
    write_text(tmp_path / "files" / name, "1")
    write_files(tmp_path / "shared", {name: b"1"})
    assert [p.name for p in (tmp_path / "folders").iterdir()] == [name]
    assert [p.name for p in (tmp_path / "files").iterdir()] == [name]
    assert sorted(p.name for p in (tmp_path / "shared").iterdir()) == sorted([MANIFEST, name])


@posix
def test_rights_are_those_of_the_umask_and_of_what_is_replaced(tmp_path):
    before = os.umask(0o077)
    try:
        write_folder(tmp_path / "m", {"a": b"1"})
        write_into(tmp_path / "m", "b", b"1")
        write_text(tmp_path / "t", "1")
    finally:
        os.umask(before)

    def mode(name: str) -> int:
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    assert [mode(n) for n in ("m", "m/a", "m/b", "t")] == [0o700, 0o600, 0o600, 0o600]
    (tmp_path / "m").chmod(0o750)
    (tmp_path / "t").chmod(0o640)
    write_folder(tmp_path / "m", {"a": b"2", "b": b"1"}, force=True)
    write_text(tmp_path / "t", "2")
    assert [mode(n) for n in ("m", "t")] == [0o750, 0o640]


@posix
def test_what_killed_writers_left_is_removed_by_the_next_and_what_lives_is_not(tmp_path):
    dead, alive = hidden_path(tmp_path / "a"), hidden_path(tmp_path / "a")
    dead.write_text("half")
    alive.write_text("half")
    folder = hidden_path(tmp_path / "m")
    folder.mkdir()
    (folder / exchange.UNFINISHED).touch()
    (folder / "model.onnx").write_bytes(b"half")
    mine = tmp_path / ".a.part"
    mine.write_text("mine")
    with locked(alive):
        write_text(tmp_path / "a", "1")
    write_folder(tmp_path / "m", {"a": b"1"})
    assert names(tmp_path) == sorted([".a.part", alive.name, "a", "m", f"m/{MANIFEST}", "m/a"])


@posix
def test_a_folder_that_a_kill_left_between_two_renames_is_put_back(tmp_path):
    write_folder(tmp_path / "m", {"a": b"old"})
    (tmp_path / "m").rename(hidden_path(tmp_path / "m"))  # where no exchange in one step is possible
    with pytest.raises(UserError, match="m exists; add `force=True`"):
        write_folder(tmp_path / "m", {"a": b"new"})
    assert (tmp_path / "m/a").read_bytes() == b"old"


def test_a_file_that_comes_into_the_folder_while_it_is_replaced_stays(tmp_path, monkeypatch):
    write_folder(tmp_path / "m", {"a": b"old"})
    real = exchange.exchange

    def late(one: Path, other: Path) -> bool:
        (tmp_path / "m/notes").write_text("mine")
        return real(one, other)

    monkeypatch.setattr(exchange, "exchange", late)
    with pytest.raises(UserError, match=r"m was changed while it was being replaced .notes"):
        write_folder(tmp_path / "m", {"a": b"new"}, force=True)
    assert names(tmp_path) == ["m", f"m/{MANIFEST}", "m/a", "m/notes"]
    assert (tmp_path / "m/a").read_bytes() == b"old"


def test_several_files_are_replaced_together_or_not_at_all(tmp_path):
    (tmp_path / "a").write_text("old")

    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"cannot write .*b \(No space left on device\)"):
        write_together({tmp_path / "a": lambda path: path.write_text("new"), tmp_path / "b": full})
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@posix
@pytest.mark.parametrize("locks", [True, False])
def test_two_processes_leave_one_whole_folder(tmp_path, locks):
    if not locks:
        files_without = "from fairpress.core import files; files._HAVE_LOCKS = False\n"
    script = (
        ("" if locks else files_without)
        + "import sys; from fairpress.core.output import write_folder, UserError\n"
        "for i in range(30):\n"
        "    try: write_folder(sys.argv[1], {n: sys.argv[2].encode() * 1000 for n in 'ab'}, force=True)\n"
        "    except UserError: pass\n"
    )
    at_once = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "m"), who], stderr=subprocess.PIPE)
        for who in "12"
    ]
    assert [p.communicate()[1] for p in at_once] == [b"", b""]
    result = {(tmp_path / "m" / n).read_bytes() for n in "ab"}
    assert len(result) == 1
    assert user_files(tmp_path / "m") == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<meta name="generator" content="fairpress">\n<p>…</p>\n'),
        ("a.md", "### Who pays for the compression?\n"),
    ],
)
def test_a_line_after_the_end_of_a_report_is_an_edit(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(sealed(path, text), encoding="utf-8")
    assert is_fairpress_file(path)
    with path.open("a") as file:
        file.write("my note\n")
    assert not is_fairpress_file(path)


def test_what_fairpress_wrote_is_not_taken_for_another_kind(tmp_path):
    page = tmp_path / "audit.html"
    write_file(page, '<meta name="generator" content="fairpress">')
    write_file(page, '<meta name="generator" content="fairpress">\nnew')
    with pytest.raises(UserError, match="was not written by fairpress"):
        check_files({"--markdown": page}, kinds={"--markdown": ".md"})
    with pytest.raises(UserError, match="was not written by fairpress"):
        write_file(page, "text", kind=".md")


def test_a_folder_in_the_place_of_a_card_is_named(tmp_path):
    write_folder(tmp_path / "m", {"a": b"1"})
    (tmp_path / "m/README.md").mkdir()
    with pytest.raises(UserError, match=r"README.md is a folder; rename it first"):
        check_into(tmp_path / "m", "README.md", force=True)


def test_a_mount_point_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "out")
    with pytest.raises(UserError, match=r"out is a mount point; choose a folder below it"):
        check_folder(tmp_path / "out")


def test_large_files_are_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_CHUNK", 10)
    (tmp_path / "a").write_bytes(b"0123456789" * 3 + b"x")
    assert files.digest_of(tmp_path / "a") == digest(b"0123456789" * 3 + b"x")
