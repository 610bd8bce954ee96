"""A place is looked at before the work is done."""

from __future__ import annotations

import pytest

from fairpress.core.errors import UserError
from fairpress.core.places import nearest_existing, require_file, require_writable


def test_a_place_below_or_instead_of_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(UserError, match="is not a folder you may write to"):
            require_writable(path)


def test_a_file_may_replace_a_file_and_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    require_file(tmp_path / "file")
    with pytest.raises(UserError, match="it is a folder"):
        require_file(tmp_path)


def test_a_place_where_even_root_cannot_write_is_refused(tmp_path):
    for check in (require_writable, require_file):
        with pytest.raises(UserError, match="cannot write /proc/nowhere/x: /proc is not a folder"):
            check("/proc/nowhere/x")


def test_looking_leaves_nothing_behind(tmp_path):
    require_writable(tmp_path / "a" / "b")
    require_file(tmp_path / "c" / "d.html")
    assert list(tmp_path.iterdir()) == []


def test_the_nearest_folder_is_named(tmp_path):
    (tmp_path / "base").mkdir()
    assert nearest_existing(tmp_path / "bsae") == f" Did you mean {str(tmp_path / 'base')!r}?"
    assert nearest_existing(tmp_path / "quite different") == ""
