"""A file that is named twice would count its rows twice: it is refused, and a copy of it is named."""

import os

import pandas as pd
import pytest

import fairpress as fp
from fairpress.core.errors import UserError

OPTIONS = {"baseline": "fp32", "compressed": ["int8"], "by": ["sex"]}


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(
        {"label": [0, 1] * 6, "sex": list("FFM") * 4, "fp32": [0, 1] * 6, "int8": [0, 1, 1] * 4}
    )
    frame.to_csv("a.csv", index=False)
    frame[:8].to_csv("b.csv", index=False)
    return frame


def spelled(name: str) -> list[str]:
    """Return paths and patterns that name a.csv more than once."""
    if name == "symbolic link":
        os.symlink("a.csv", "other.csv")
    elif name == "hard link":
        os.link("a.csv", "other.csv")
    second = {"same": "a.csv", "spelling": "./a.csv", "pattern": "a*.csv"}.get(name, "other.csv")
    return ["a.csv", "b.csv", second]


@pytest.mark.parametrize("name", ["same", "spelling", "pattern", "symbolic link", "hard link"])
def test_a_file_that_is_named_twice_is_refused(table, name):
    paths = spelled(name)
    message = "would count twice; name each file once"
    with pytest.raises(UserError, match=message):
        fp.audit(paths, **OPTIONS)
    with pytest.raises(UserError, match=message):
        fp.plan(table=paths, by=["sex"], flips=0.03)


def test_a_pattern_that_finds_a_link_beside_its_file_is_refused(table):
    os.symlink("a.csv", "latest.csv")
    with pytest.raises(UserError, match=r"a\.csv and latest\.csv are one file"):
        fp.audit("*.csv", **OPTIONS)


def test_a_frame_that_is_given_twice_is_refused(table):
    with pytest.raises(UserError, match="in the list twice"):
        fp.audit([table, table], **OPTIONS)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_copies_of_a_file_are_named_and_parts_without_rows_are_not(table, suffix):
    def write(frame, name):
        path = f"{name}.{suffix}"
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
        return path

    paths = [write(table, "one"), write(table, "two"), write(table[::-1], "reversed")]
    paths += [write(table[:0], "empty"), write(table[:0], "also-empty")]
    report = fp.audit(paths, **OPTIONS)
    assert report.rows == 36
    [warning] = report.warnings
    assert warning.startswith(f"{paths[0]} and {paths[1]} have the same content")


def test_copied_cells_are_named_too(table):
    for name in ("one.parquet", "two.parquet"):
        fp.export_cells(table, name, **OPTIONS)
    assert "one.parquet and two.parquet have the same content" in fp.audit("*.parquet", **OPTIONS).warnings[0]


def test_pairs_are_not_chosen_on_the_audited_rows_under_another_name(table):
    os.link("a.csv", "other.csv")
    with pytest.raises(UserError, match="regresses to the mean"):
        fp.audit("a.csv", pairs_from="other.csv", **OPTIONS)
