"""The first rows of a CSV file: read in one pass with the count, and a column that no check needs is not parsed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress.auditing.audit import audit
from fairpress.auditing.cells import head, relation
from fairpress.auditing.cells.decision import Decision
from fairpress.auditing.cells.open_source import open_source

PAIR = {"baseline": "a", "compressed": ["b"], "by": "g"}


def table(rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "label": y,
            "g": rng.choice(["m", 'f "x", y', "two\nlines"], rows),
            "a": np.where(rng.random(rows) < 0.8, y, 1 - y),
            "b": np.where(rng.random(rows) < 0.7, y, 1 - y),
            "income": rng.random(rows).round(6),
            "age": rng.integers(18, 90, rows),
        }
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.csv"


def test_a_small_file_is_read_once_for_its_counts_and_its_warnings(path, file_queries):
    table().to_csv(path, index=False)
    assert audit(path, **PAIR).rows == 300
    assert len(file_queries) == 1
    assert file_queries[0].startswith(
        "CREATE TEMP TABLE head0 AS SELECT c0, c1, c2, c3, c5, hash(c0, c1, c2, c3, c4, c5)"
    )


def test_a_column_that_is_not_held_is_read_when_it_is_asked_for(path):
    frame = table()
    frame.to_csv(path, index=False)
    rows = open_source(str(path)).head(["label", "g", "a", "b"])
    assert rows.whole == set(frame) - {"income"}
    for name in ("age", "income", "g"):
        assert rows[name].to_pylist() == frame[name].astype(str).tolist()
    assert rows.distinct(["income", "label"]) == {
        "income": (300, frame.income.nunique()),
        "label": (300, 2),
    }


def test_only_the_first_rows_of_a_longer_file_are_held_and_its_counts_are_of_all(path, monkeypatch):
    monkeypatch.setattr(head, "ROWS", 100)
    frame = table()
    frame.to_csv(path, index=False)
    source = open_source(str(path))
    rows = source.head()
    assert (rows.rows, rows.complete, len(rows.hashes())) == (100, False, 300)
    assert rows["age"].to_pylist() == frame.age[:100].astype(str).tolist()
    assert source.read(f"SELECT count({source.column('age')}) FROM {source.relation}").value() == 300


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("copies", [0, 2, 20])
def test_copies_are_found_in_small_and_large_files_by_counts_and_by_hashes(path, monkeypatch, small, copies):
    if not small:
        monkeypatch.setattr(relation, "_SMALL", 0)
    frame = table()
    pd.concat([frame, frame[:copies]]).to_csv(path, index=False)
    warned = any("exact copies" in w for w in audit(path, **PAIR).warnings)
    assert warned == (copies == 20)
    pd.concat([frame.iloc[:, :4], frame.iloc[:, :4]]).to_csv(path, index=False)  # all columns are counted
    assert any("occurs 2 times" in w for w in audit(path, **PAIR).warnings)


def test_rows_are_counted_as_their_hashes_are(path):
    frame = table().assign(b=lambda t: t.b.where(t.index % 9 > 0))
    frame[["label", "g", "a", "b"]].to_csv(path, index=False)
    source = open_source(str(path))
    names = ["label", "g", "a", "b"]
    assert source.counted_rows(names) is None
    source.count(["label", "g"], {m: Decision(m) for m in "ab"})
    counted = source.counted_rows(names)
    hashed = np.unique(source.head().hashes(), return_counts=True)[1]
    assert sorted(counted.tolist()) == sorted(hashed.tolist())
    assert source.counted_rows(names[1:]) is None
