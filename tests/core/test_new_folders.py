"""A folder is made where nothing of the user's stands, and replaced only where fairpress wrote all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairpress.core.errors import UserError
from fairpress.core.places import nearest, require_new_folder

WRITTEN = ("model.onnx", "card.json")


@pytest.fixture
def base(tmp_path, monkeypatch):
    (tmp_path / "work" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    for name in WRITTEN:
        (tmp_path / "work" / "base" / name).write_text(name)
    return tmp_path / "work" / "base"


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        (".", "the folder you work in"),
        ("..", "the folder you work in, or holds it"),
        ("base", "is what is read"),
        ("base/small", "lies in it"),
        ("full", "exists and is not empty; choose another --out, or replace it with --force"),
        ("note.txt", "is a file"),
        ("link", "is a link"),
    ],
)
def test_a_folder_of_the_users_is_refused_before_any_work(base, out, sentence):
    work = base.parent
    (work / "full").mkdir()
    (work / "full" / "model.onnx").write_text("a model")
    (work / "note.txt").write_text("mine")
    (work / "link").symlink_to(work / "full")
    with pytest.raises(UserError, match=sentence):
        require_new_folder(Path(out), [base], WRITTEN)


def test_new_and_empty_folders_are_taken(base):
    (base.parent / "empty").mkdir()
    for out in ("empty", "new", "new/deep"):
        require_new_folder(base.parent / out, [base], WRITTEN)
    assert not (base.parent / "new").exists()


def test_force_replaces_only_what_fairpress_wrote(base):
    old = base.parent / "old"
    old.mkdir()
    (old / "model.onnx").write_text("a model")
    require_new_folder(old, [base], WRITTEN, force=True)
    (old / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds 'notes.txt', which fairpress did not write"):
        require_new_folder(old, [base], WRITTEN, force=True)
    (old / "notes.txt").unlink()
    (old / "card.json").mkdir()
    with pytest.raises(UserError, match=r"holds 'card.json'"):
        require_new_folder(old, [base], WRITTEN, force=True)


def test_the_nearest_folder_is_named(base):
    assert nearest(base.parent / "bsae") == f" Did you mean {str(base)!r}?"
    assert nearest(base.parent / "quite different") == ""
