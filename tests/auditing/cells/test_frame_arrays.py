"""Frames are read alike with pyarrow and without it: the witness is what Arrow reads."""

from __future__ import annotations

import datetime
import decimal
import importlib.util

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fairpress.auditing.audit import audit
from fairpress.auditing.cells.frames import Frame
from fairpress.auditing.cells.relation import Relation
from fairpress.auditing.output.audit_json import to_dict
from fairpress.core.errors import UserError

DAYS = pd.to_datetime(["2026-01-01", None, "2026-01-02 03:04", "2026-01-01"], format="mixed")


class Name(str):
    """Text of a class of its own."""


COLUMNS = {
    "text": ["a", None, "b", "a"],
    "empty": ["", "x", None, ""],
    "odd": ["é", "😀", "a\0b", "x"],
    "subclass": [Name("a"), Name("é"), None, "a"],
    "late": [None, None, None, "a"],
    "missing": [None, None, None, None],
    "true": [True, False, None, True],
    "whole": [1, None, 3, 1],
    "long": [2**63 - 1, -(2**63), 0, 1],
    "longer": [2**63 + 5, 2**63 + 6, 1, 2],
    "fraction": [0.1, None, float("nan"), 2.0],
    "mixed": ["a", 1, 1.0, True],
    "text and nan": ["a", float("nan"), "b", "a"],
    "dates": [datetime.date(2026, 1, 1), None, datetime.date(2026, 1, 2), datetime.date(2026, 1, 1)],
    "decimals": [decimal.Decimal("1.10"), None, decimal.Decimal(2), decimal.Decimal("1.10")],
    "bytes": [b"a", b"b", b"a", b"a"],
    "bool": np.array([True, False, True, True]),
    **{kind: np.array([1, 2, 3, 1], dtype=kind) for kind in ("i1", "i4", "i8", "u1", "u8", ">i4")},
    **{kind: np.array([0.1, np.nan, 0.7, np.inf], dtype=kind) for kind in ("f2", "f4", "f8", "g")},
    "fixed": np.array(["a", "bc", "", "a"]),
    "masked": np.ma.masked_array([1, 2, 3, 4], mask=[0, 1, 0, 0]),
    "masked text": np.ma.masked_array(["a", "b", "c", "d"], mask=[0, 1, 0, 0]),
    "every second": np.arange(8.0)[::2],
    "days": DAYS,
    "zoned": DAYS.tz_localize("Europe/Vienna"),
    "lengths": pd.to_timedelta([1, None, 2, 1], unit="h"),
    "periods": pd.PeriodIndex(["2026-01", "2026-02", None, "2026-01"], freq="M"),
    "nullable text": pd.array(["a", None, "", "a"], dtype="string"),
    **{f"nullable {kind}": pd.array([1, None, 0, 1], dtype=kind) for kind in ("Int8", "UInt64", "Float32")},
    "nullable bool": pd.array([True, None, False, True], dtype="boolean"),
    "categories": pd.Categorical(["b", None, "a", "b"], categories=["b", "a", "unused"]),
    "numbered categories": pd.Categorical([2.0, None, 1.5, 2.0]),
    "sparse": pd.arrays.SparseArray([0, 0, 1, 0]),
}


@pytest.fixture
def without_arrow(monkeypatch):
    """Return a function after which frames are read as where pyarrow is not installed."""
    find = importlib.util.find_spec

    def hide():
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *more: None if name == "pyarrow" else find(name, *more)
        )

    return hide


def read(table):
    """Return what the types of the columns are taken for, and the values that a query returns."""
    relation = Relation(table)
    selected = ", ".join(relation.column(name) for name in relation.columns)
    found = relation.read(f"SELECT {selected} FROM {relation.relation}")
    return relation.columns, [[str(v) for v in column.to_pylist()] for column in found]


@pytest.mark.parametrize("form", [dict, pd.DataFrame])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_has_the_type_and_the_values_that_arrow_reads(name, form, without_arrow):
    table = form({name: COLUMNS[name], "beside": range(4)})
    expected = read(table)
    without_arrow()
    assert read(table) == expected


@pytest.mark.parametrize(
    "values",
    [[[1], [2]], [{"a": 1}, None], [object(), object()], ["a\ud800", "b"], np.array([b"a", b"b"])],
    ids=["lists", "dicts", "objects", "surrogate", "binary"],
)
def test_what_is_no_plain_value_is_refused_in_the_same_sentence(values, without_arrow):
    table = {"x": values}
    with pytest.raises(UserError) as by_arrow:
        Frame(table).load(0)
    without_arrow()
    frame = Frame(table)
    with pytest.raises(UserError) as by_arrays:
        frame.load(0)
    assert str(by_arrays.value) == str(by_arrow.value)


@pytest.mark.parametrize("scores", [False, True])
def test_figures_are_the_same_of_one_frame_and_of_a_list_with_files(scores, without_arrow, tmp_path):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 2500)
    table = pd.DataFrame(
        {
            "label": label,
            "sex": pd.Categorical(rng.choice(["F", "M"], 2500)),
            "region": pd.array(rng.choice(["n", "s", None], 2500), dtype="string"),
            "person": rng.integers(0, 900, 2500),
            "w": rng.uniform(0.5, 2, 2500),
            "fp32": pd.array(np.where(rng.random(2500) < 0.1, 1 - label, label), dtype="Int64"),
            "int8": np.where(rng.random(2500) < 0.15, 1 - label, label).astype(bool),
            "nested": [[1]] * 2500,
        }
    )
    if scores:
        for model in ("fp32", "int8"):
            table[f"{model}.score"] = (0.5 * table[model].astype(float) + rng.random(2500) / 2).astype("f4")
    first, second = table[:1000], table[1000:]
    second.to_parquet(tmp_path / "second.parquet", index=False)
    options = {"baseline": "fp32", "compressed": "int8", "by": ["sex", "region"], "positive": 1}
    tables = [table, [first, second.drop(columns="nested")], [first, tmp_path / "second.parquet"]]
    extra = [{}, {"subject": "person"}, {"weight": "w"}]
    expected = [to_dict(audit(t, **options, **more)) for t in tables for more in extra]
    without_arrow()
    assert [to_dict(audit(t, **options, **more)) for t in tables for more in extra] == expected


def test_a_polars_column_still_has_its_own_library(without_arrow):
    without_arrow()
    assert read(pl.DataFrame({"x": [1, None, 3]})) == ({"x": "BIGINT"}, [["1", "None", "3"]])
