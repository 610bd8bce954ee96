"""No file of the user's is ever lost: what fairpress writes is checked first, replaced whole, and marked as its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fairpress.core import exchange
from fairpress.core.errors import UserError
from fairpress.core.output import (
    MANIFEST,
    check_files,
    check_folder,
    is_fairpress_file,
    sealed,
    user_files,
    write_folder,
    write_into,
)


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != MANIFEST
    }


def test_a_new_folder_has_its_files_and_nothing_stands_next_to_it(tmp_path):
    write_folder(tmp_path / "m", {"a.txt": b"1", "sub/b.txt": b"2"})
    assert content(tmp_path / "m") == {"a.txt": b"1", "sub/b.txt": b"2"}
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert user_files(tmp_path / "m") == []


def test_a_folder_that_exists_is_replaced_only_when_that_is_meant(tmp_path):
    write_folder(tmp_path / "m", {"a": b"old", "gone": b"x"})
    with pytest.raises(UserError, match="m exists; add `force=True` to replace it"):
        write_folder(tmp_path / "m", {"a": b"new"})
    assert content(tmp_path / "m") == {"a": b"old", "gone": b"x"}
    write_folder(tmp_path / "m", {"a": b"new"}, force=True)
    assert content(tmp_path / "m") == {"a": b"new"}
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("name", ["notes.txt", "deep/er/notes.txt", ".gitkeep"])
def test_files_of_the_user_are_never_removed_even_by_force(tmp_path, name):
    mine = b"" if name == ".gitkeep" else b"mine"
    write_folder(tmp_path / "m", {"a": b"old"})
    (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "m" / name).write_bytes(mine)
    with pytest.raises(UserError, match=f"did not write or that were edited since .{name}"):
        write_folder(tmp_path / "m", {"a": b"new"}, force=True)
    assert content(tmp_path / "m") == {"a": b"old", name: mine}


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.csv", "row_id,subject,label,sex\n"), ("a.html", '<meta name="generator" content="fairpress">')],
)
def test_reports_and_tables_that_were_put_into_a_folder_are_not_removed_with_it(tmp_path, name, text):
    write_folder(tmp_path / "m", {"a": b"old"})
    (tmp_path / "m" / name).write_text(text)
    with pytest.raises(UserError, match="did not write or that were edited since"):
        write_folder(tmp_path / "m", {"a": b"new"}, force=True)
    assert (tmp_path / "m" / name).read_text() == text


def test_a_file_that_was_edited_is_the_users(tmp_path):
    write_folder(tmp_path / "m", {"a": b"old"})
    (tmp_path / "m/a").write_text("edited")
    assert user_files(tmp_path / "m") == ["a"]
    with pytest.raises(UserError, match="edited since"):
        write_folder(tmp_path / "m", {"a": b"new"}, force=True)


def test_links_inside_a_folder_are_the_users_and_are_not_followed(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    write_folder(tmp_path / "m", {"a": b"old"})
    (tmp_path / "m/link").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(UserError, match="link"):
        write_folder(tmp_path / "m", {"a": b"new"}, force=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_link_is_no_place_to_write_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UserError, match="link is a symbolic link"):
        check_folder(tmp_path / "link")
    (tmp_path / "t.html").symlink_to(tmp_path / "elsewhere.html")
    with pytest.raises(UserError, match=r"t.html is a symbolic link"):
        check_files({"--html": tmp_path / "t.html"})


@pytest.mark.parametrize("out", [".", "..", "base", "base/new", "./base/../base"])
def test_the_current_folder_and_inputs_are_refused_before_the_work(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    Path("base").mkdir()
    Path("base/model.onnx").write_bytes(b"x")
    with pytest.raises(UserError, match="choose"):
        check_folder(out, inputs=["base"], force=True)
    assert Path("base/model.onnx").read_bytes() == b"x"


def test_an_input_below_the_target_is_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models/base").mkdir(parents=True)
    with pytest.raises(UserError, match=r"is the input .*, contains it"):
        check_folder("models", inputs=["models/base"])


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "m").mkdir()
    write_folder(tmp_path / "m", {"a": b"1"})
    assert content(tmp_path / "m") == {"a": b"1"}


def test_one_file_of_a_folder_is_replaced_and_the_rest_left_alone(tmp_path):
    write_folder(tmp_path / "m", {"a": b"1", "b": b"2"})
    (tmp_path / "m/notes.txt").write_text("mine")
    write_into(tmp_path / "m", "a", b"new")
    write_into(tmp_path / "m", "README.md", b"card")
    assert content(tmp_path / "m") == {"a": b"new", "b": b"2", "README.md": b"card", "notes.txt": b"mine"}
    assert user_files(tmp_path / "m") == ["notes.txt"]


def test_a_readme_written_by_hand_is_kept(tmp_path):
    write_folder(tmp_path / "m", {"a": b"1"})
    (tmp_path / "m/README.md").write_text("# My model\nquantized with fairpress")
    with pytest.raises(UserError, match=r"README.md was not written by fairpress; add `force=True`"):
        write_into(tmp_path / "m", "README.md", b"card")
    write_into(tmp_path / "m", "README.md", b"card", force=True)
    assert (tmp_path / "m/README.md").read_bytes() == b"card"
    (tmp_path / "m/README.md").write_text("card, and a note of mine")
    with pytest.raises(UserError, match=r"README.md was edited since fairpress wrote it; add `force=True`"):
        write_into(tmp_path / "m", "README.md", b"new card")


def test_a_model_folder_without_a_manifest_is_known_by_its_files(tmp_path):
    (tmp_path / "m").mkdir()
    for name in ("model.onnx", "card.json", "model.safetensors"):
        (tmp_path / "m" / name).write_bytes(b"x")
    assert user_files(tmp_path / "m") == []
    (tmp_path / "m/p.csv").write_text("row_id,subject,label,sex\n")
    write_into(tmp_path / "m", "model.onnx", b"y")
    assert user_files(tmp_path / "m") == ["p.csv"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/model.onnx").write_bytes(b"x")  # somebody's export, and no model folder
    assert user_files(tmp_path / "other") == ["model.onnx"]


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"schema": "fairpress.files/1", "files": 3}', "[" * 100_000]
)
def test_a_broken_manifest_makes_nothing_fairpress_own(tmp_path, manifest):
    write_folder(tmp_path / "m", {"a": b"1"})
    (tmp_path / "m" / MANIFEST).write_text(manifest)
    assert user_files(tmp_path / "m") == [MANIFEST, "a"]


def test_outputs_over_inputs_over_each_other_and_over_other_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("label,sex\n")
    Path("page.html").write_text("<html>mine</html>")
    with pytest.raises(UserError, match=r"--html t.csv is an input"):
        check_files({"--html": "t.csv"}, inputs=["./t.csv"])
    with pytest.raises(UserError, match="--html and --markdown name the same file"):
        check_files({"--html": "a", "--latex": None, "--markdown": "./a"})
    with pytest.raises(
        UserError,
        match=r"page.html exists and was not written by fairpress, or was edited since; add `force=True`",
    ):
        check_files({"--html": "page.html"})
    Path("empty.html").touch()
    check_files({"--html": "empty.html", "--markdown": "new.md"})
    check_files({"--html": "page.html"}, force=True)
    assert Path("page.html").read_text() == "<html>mine</html>"


@pytest.mark.parametrize(
    ("name", "text", "own"),
    [
        ("a.html", '<meta name="generator" content="fairpress">', True),
        ("a.htm", '<meta name="generator" content="fairpress">', False),
        ("a.tex", "% Written by fairpress; needs", True),
        ("card.md", "---\nlicense: mit\ntags:\n- audit\n- fairpress\n---\n", True),
        ("card.md", "---\nlicense: mit\n---\nquantized with fairpress", False),
        ("a.html", "<p>made with fairpress</p>", False),
        ("p.csv", "row_id,subject,label,sex\n", False),  # it may as well be the user's
        ("a.json", json.dumps({"schema": "fairpress.audit/1"}), True),
        ("a.json", "{}", False),
        ("x.md", "", False),
    ],
)
def test_what_fairpress_wrote_is_recognized(tmp_path, name, text, own):
    (tmp_path / name).write_text(text)
    assert is_fairpress_file(tmp_path / name) is own


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<meta name="generator" content="fairpress">\n<p>…</p>\n'),
        ("a.html", '<meta name="generator" content="fairpress">\n<p>a\rb</p>\n'),
        ("a.md", "### Who pays for the compression?\n\n✖ harm\n"),
        ("a.tex", "% Written by fairpress; needs booktabs.\n\\begin{table}\n"),
    ],
)
def test_a_report_that_was_edited_by_hand_is_the_users(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(sealed(path, text), encoding="utf-8")
    assert is_fairpress_file(path)
    assert path.read_bytes().startswith(text.encode())
    path.write_text(path.read_text(encoding="utf-8").replace("\n", "\nmy note\n", 1), encoding="utf-8")
    assert not is_fairpress_file(path)
    with pytest.raises(UserError, match="or was edited since"):
        check_files({"--html": path})
    path.write_text(text, encoding="utf-8")  # one of an earlier version
    assert is_fairpress_file(path)


def test_without_an_exchange_the_folder_is_still_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "exchange", lambda one, other: False)
    write_folder(tmp_path / "m", {"a": b"old"})
    write_folder(tmp_path / "m", {"a": b"new"}, force=True)
    assert content(tmp_path / "m") == {"a": b"new"}
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="folders are exchanged in one step on Linux")
def test_a_kill_leaves_the_old_folder_or_the_new_one(tmp_path):
    script = (
        "import sys; from fairpress.core.output import write_folder\n"
        "write_folder(sys.argv[1], {'a': b'0' * 1000, 'b': b'0' * 1000})\n"
        "print('ready', flush=True)\n"
        "for i in range(1, 10**6): write_folder(sys.argv[1], {n: str(i % 10).encode() * 1000 for n in 'ab'}, force=True)\n"
    )
    for attempt in range(5):
        path = tmp_path / f"m{attempt}"
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.03 + 0.02 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        result = content(path)
        assert set(result) == {"a", "b"}
        assert result["a"] == result["b"]
        assert user_files(path) == []
