"""Columns of CSV files are parsed once where there are scores, and mean what they mean where every query reads the file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress.auditing.audit import audit
from fairpress.auditing.cells import kept_columns, relation
from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.output.audit_json import to_dict
from fairpress.core.errors import UserError

PAIR = {"baseline": "a", "compressed": ["b"], "by": ["sex", "g"]}


def scored(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    before = (y + 2 * rng.random(rows)) / 3
    after = np.clip(before + 0.05 * rng.normal(size=rows), 0, 1)
    return pd.DataFrame(
        {
            "label": y,
            "sex": rng.choice(["F", "M"], rows),
            "g": rng.choice(["02134", "2134", "1.0"], rows),
            "a": (before >= 0.5) * 1,
            "b": (after >= 0.5) * 1,
            "a.score": before,
            "b.score": after,
            "w": rng.uniform(0.5, 2, rows),
        }
    )


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A file of which only the first ten rows tell the values of a column."""
    monkeypatch.setattr(kept_columns, "FIRST_ROWS", 10)
    monkeypatch.setattr("fairpress.auditing.cells.relation.FIRST_ROWS", 10)
    return tmp_path / "t.csv"


def without_table(report):
    result = to_dict(report)
    result["provenance"].pop("table", None)
    return result


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t,
        lambda t: t.assign(g=t.g.where(t.index != 599, "a value of the last row")),
        lambda t: t.assign(g=t.g.where(t.index % 7 > 0)),
        lambda t: t.assign(g=[f"o'{i % 300}" for i in t.index]),
        lambda t: t.assign(sex=t.sex.where(t.index > 20)),
    ],
)
@pytest.mark.parametrize("weight", [None, "w"])
def test_the_audit_of_a_csv_file_is_that_of_the_table_in_memory(path, change, weight):
    table = change(scored())
    table.to_csv(path, index=False)
    read = pd.read_csv(path, dtype=dict.fromkeys(("label", "sex", "g", "a", "b"), str), keep_default_na=True)
    expected, result = (without_table(audit(t, weight=weight, **PAIR)) for t in (read, path))
    assert result == expected


def test_a_large_csv_file_with_scores_is_parsed_twice_whatever_is_asked_of_them(
    path, file_queries, monkeypatch
):
    monkeypatch.setattr(relation, "_SMALL", 0)
    table = pd.concat([scored(200, seed) for seed in range(3)])
    table.to_csv(path, index=False)
    audit(path, **PAIR)
    # The first values, all columns that are needed, the first rows for warnings, and all rows for copies.
    assert len(file_queries) == 4
    assert sum("LIMIT" in q for q in file_queries) == 2


def test_a_small_csv_file_with_scores_is_parsed_once(path, file_queries):
    scored(200).to_csv(path, index=False)
    audit(path, **PAIR)
    assert len(file_queries) == 1


def test_a_score_in_the_last_row_that_is_no_number_is_named_with_its_row(path):
    table = scored().astype({"a.score": object})
    table.loc[599, "a.score"] = "n/a"
    table.to_csv(path, index=False)
    with pytest.raises(
        UserError, match=r"'a.score' \(scores of model 'a'\) must hold numbers, but row 600 has 'n/a'"
    ):
        audit(path, **PAIR)


def test_a_line_that_is_cut_short_is_named_where_columns_are_kept(path):
    scored().to_csv(path, index=False)
    with path.open("a") as file:
        file.write("1,F\n")
    with pytest.raises(UserError, match="line 602: 2 columns, but the header has 8"):
        audit(path, **PAIR)


def test_queries_of_other_columns_read_the_file_and_see_the_same_numbers(path):
    table = scored(30)
    table.to_csv(path, index=False)
    source = open_source(str(path))
    source.keep(["label", "sex"], ["a.score"])
    number = source.as_number("a.score")
    for other, expected in (("sex", table.sex), ("g", table.g)):
        lines = source.read(
            f"SELECT {source.column(other)} AS o, {number} AS x FROM {source.relation}"
        ).to_pylist()
        assert [line["o"] for line in lines] == expected.tolist()
        assert [line["x"] for line in lines] == table["a.score"].tolist()
    source.release()
    assert source.as_number("a.score") != number
    assert source.holds_numbers("a.score")


def test_only_tables_in_csv_files_are_kept(path):
    source = open_source(scored(30))
    source.keep(["label"], ["a.score"])
    assert "CAST" not in source.as_number("a.score")
    assert not source.as_number("a.score").startswith("number")


@pytest.mark.parametrize("by", ["g", "sex*g"])
def test_a_frame_beside_a_file_keeps_its_values(tmp_path, by):
    table, csv = scored(), tmp_path / "half.csv"
    table[:300].to_csv(csv, index=False)
    whole = tmp_path / "whole.csv"
    table.to_csv(whole, index=False)
    options = {"baseline": "a", "compressed": ["b"], "by": by}
    expected, both = (
        to_dict(audit(t, **options)) for t in (str(whole), [str(csv), table[300:].astype({"g": "string"})])
    )
    assert both["models"] == expected["models"]
    assert both["comparisons"]["b"]["attributes"] == expected["comparisons"]["b"]["attributes"]


@pytest.mark.parametrize("absent", [0, 50])
def test_people_and_groups_without_a_value_are_counted_as_in_a_frame(tmp_path, absent):
    table, csv = scored().assign(person=[f"p{i % 150}" for i in range(600)]), tmp_path / "table.csv"
    table.loc[: absent - 1, "g"] = None
    table.to_csv(csv, index=False)
    options = {"baseline": "a", "compressed": ["b"], "by": "g", "subject": "person"}
    expected, read = (to_dict(audit(t, **options)) for t in (table, str(csv)))
    assert read["models"] == expected["models"]
    assert read["comparisons"]["b"]["attributes"] == expected["comparisons"]["b"]["attributes"]
