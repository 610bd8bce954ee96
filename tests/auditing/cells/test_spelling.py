"""Values keep their spelling: groups in are groups out in every format, people stay apart, and classes meet by one rule."""

from __future__ import annotations

import datetime
import decimal
import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpress.auditing.audit import audit
from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.open_source import open_source
from fairpress.core.attribute import Attribute
from fairpress.core.errors import UserError

PAIR = {"baseline": "a", "compressed": ["b"]}
AWKWARD = [
    "02134", "2134", "18_24", "1824", "1_0", "10", "1e3", "1000", "1.10", "1.1", "1.0", "1", "True", "true", "0", "-0",
    " a", "a", "a ", "NULL", "NA", "nan", "None", "inf", '"', "'", '""', ",", ";", "\t", "|", "\n", "a\nb", "é", "Ä", "<b>",
    "2024-05-01", "12345678901234567890", "12345678901234567891", "#", "\\", "(missing)", "x" * 300, "=1+1", "%", "*",
]  # fmt: skip


def columns(rows: int) -> dict[str, list[int]]:
    rng = np.random.default_rng(rows)
    label = [0, 1, *rng.integers(0, 2, rows - 2).tolist()]
    return {"label": label, "a": label[:], "b": rng.integers(0, 2, rows).tolist()}


def groups(table, by="g", bins=None):
    attribute = Attribute((by,))
    cells = count(open_source(table), label="label", models=["a", "b"], by=[attribute], bins=bins)
    grouping = cells.grouping(attribute)
    return dict(
        zip(
            (g[by] for g in grouping.values),
            np.bincount(grouping.index, weights=cells.rows).tolist(),
            strict=True,
        )
    )


def in_every_format(frame: pd.DataFrame, folder: Path):
    """Yield the same table in every format."""
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "t.tsv", index=False, sep="\t")
    frame.to_csv(folder / "semicolon.csv", index=False, sep=";")
    with gzip.open(folder / "t.csv.gz", "wt", encoding="utf-8", newline="") as file:
        frame.to_csv(file, index=False)
    arrow = pa.table({name: pa.array(frame[name].tolist()) for name in frame})
    pq.write_table(arrow, folder / "t.parquet")
    yield from (folder / f for f in ("t.csv", "t.tsv", "semicolon.csv", "t.csv.gz", "t.parquet"))
    yield [folder / "t.csv"]
    yield str(folder / "*.parquet")
    yield frame
    yield frame.astype({"g": object})
    yield frame.astype({"g": "category"})
    yield arrow
    yield arrow.set_column(arrow.column_names.index("g"), "g", arrow["g"].dictionary_encode())
    yield pl.DataFrame({name: frame[name].tolist() for name in frame})
    yield pl.LazyFrame({name: frame[name].tolist() for name in frame})
    yield {name: frame[name].tolist() for name in frame}
    yield {name: np.array(frame[name].tolist()) for name in frame}


texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufffd"), min_size=1, max_size=8
)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(AWKWARD), texts), min_size=6, max_size=14, unique=True))
def test_for_any_table_of_strings_groups_in_are_groups_out_in_every_format(names):
    rows = [name for i, name in enumerate(names) for _ in range(1 + i % 3)]
    frame = pd.DataFrame({**columns(len(rows)), "g": rows})
    expected = {name: float(1 + i % 3) for i, name in enumerate(names)}
    with TemporaryDirectory() as folder:
        for table in in_every_format(frame, Path(folder)):
            assert groups(table) == expected


@settings(max_examples=6, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from([*AWKWARD, "g", "G", "c0", "C1"]), texts),
        min_size=2,
        max_size=4,
        unique=True,
    )
)
def test_for_any_names_of_columns_each_is_found_by_its_exact_name(names):
    names = [n for n in names if n.strip() and "*" not in n and n not in ("label", "a", "b")]
    frame = pd.DataFrame(columns(12))
    for i, name in enumerate(names):
        frame[name] = [f"{i}x"] * 6 + [f"{i}y"] * 6
    with TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "t.csv", index=False)
        frame.to_parquet(Path(folder) / "t.parquet")
        for table in (frame, Path(folder) / "t.csv", Path(folder) / "t.parquet"):
            for i, name in enumerate(names):
                assert groups(table, name) == {f"{i}x": 6.0, f"{i}y": 6.0}


def test_a_header_of_two_lines_is_not_a_repeated_one(tmp_path):
    """The name of a column has a line break, so that the header is the first record and ends on line 2."""
    path = tmp_path / "t.csv"
    pd.DataFrame({**columns(12), "g\nroup": ["x", "y"] * 6}).to_csv(path, index=False)
    assert groups(path, "g\nroup") == {"x": 6.0, "y": 6.0}
    text = path.read_text()
    path.write_text(text + text)
    with pytest.raises(UserError, match="line 16: the header is repeated"):
        groups(path, "g\nroup")


def test_text_that_is_empty_is_missing_in_every_format_and_said(tmp_path):
    frame = pd.DataFrame({**columns(9), "g": ["", "x", "y"] * 3})
    for table in in_every_format(frame, tmp_path):
        report = audit(table, by=["g"], **PAIR)
        assert {g.values["g"] for g in report.models[0].groups} == {"(missing)", "x", "y"}
        assert any("'g' is missing in 3 rows" in note for note in report.notes)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 2], {"1", "2"}),
        ([1.0, 2.5], {"1.0", "2.5"}),
        ([True, False], {"True", "False"}),
        ([None, 1.0], {"(missing)", "1.0"}),
        ([datetime.date(2024, 5, 1), datetime.date(2024, 5, 2)], {"2024-05-01", "2024-05-02"}),
        ([decimal.Decimal("1.50"), decimal.Decimal("2.00")], {"1.50", "2.00"}),
        ([2**63 - 1, 2**63 - 2], {str(2**63 - 1), str(2**63 - 2)}),
    ],
)
def test_typed_values_have_the_spelling_of_a_csv_file_in_every_format(values, names, tmp_path):
    frame = pd.DataFrame({**columns(8), "g": values * 4})
    for table in in_every_format(frame, tmp_path):
        if not (isinstance(table, pd.DataFrame) and str(table.g.dtype) == "category" and None in values):
            assert set(groups(table)) == names


def test_values_of_several_types_in_one_column_stay_apart():
    frame = pd.DataFrame({**columns(10), "g": [True, 1, 1.0, "1", None] * 2})
    assert groups(frame) == {"True": 2, "1": 4, "1.0": 2, "(missing)": 2}


@pytest.mark.parametrize("first", [2**53, 10**18, 2**64 - 4000, 10**19, 10**25])
def test_people_with_long_ids_are_never_one(first, tmp_path):
    ids = [first + i for i in range(300)]
    frame = pd.DataFrame({**columns(300), "g": ["x", "y"] * 150, "who": [str(i) for i in ids]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    tables = [frame, tmp_path / "t.csv", {**frame.to_dict("list"), "who": ids}, frame.assign(who=ids)]
    if first < 2**64 - 300:
        tables.append(frame.assign(who=np.array(ids, dtype=np.uint64)))
    tables.append(frame.assign(who=[decimal.Decimal(i) for i in ids]))
    for table in tables:
        assert audit(table, by=["g"], subject="who", **PAIR).subjects == 300


def test_ids_that_have_merged_as_decimal_numbers_are_refused(tmp_path):
    frame = pd.DataFrame({**columns(300), "g": ["x", "y"] * 150, "who": 2.0**60 + np.arange(300)})
    frame.to_parquet(tmp_path / "t.parquet")
    for table in (frame, tmp_path / "t.parquet"):
        with pytest.raises(UserError, match="neighboring integers are equal"):
            audit(table, by=["g"], subject="who", **PAIR)
    assert audit(frame.assign(who=np.arange(300.0)), by=["g"], subject="who", **PAIR).subjects == 300


@pytest.mark.parametrize(
    ("label", "a", "b", "classes"),
    [
        (int, float, bool, ("0", "1")),
        (float, int, str, ("0.0", "1.0")),
        (bool, int, float, ("False", "True")),
        (str, bool, float, ("0", "1")),
    ],
)
def test_classes_meet_by_number_and_truth_value(label, a, b, classes, tmp_path):
    frame = pd.DataFrame({**columns(200), "g": ["x", "y"] * 100}).astype({"label": label, "a": a, "b": b})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    expected = audit(pd.DataFrame({**columns(200), "g": ["x", "y"] * 100}), by=["g"], **PAIR).comparisons
    for table in (frame, tmp_path / "t.csv", tmp_path / "t.parquet"):
        report = audit(table, by=["g"], positive="1", **PAIR)
        assert report.classes == classes
        # The headline names a class, which is called differently in each table.
        for c, e in zip(report.comparisons, expected, strict=True):
            assert (c.verdict, c.overall, c.attributes) == (e.verdict, e.overall, e.attributes)


def test_two_spellings_of_one_number_in_a_label_are_one_class():
    frame = pd.DataFrame({**columns(200), "g": ["x", "y"] * 100})
    mixed = frame.assign(label=[f"{v}.0" if i % 3 else str(v) for i, v in enumerate(frame.label)])
    assert audit(mixed, by=["g"], **PAIR).comparisons == audit(frame, by=["g"], **PAIR).comparisons


def test_codes_are_groups_and_many_numbers_are_refused_in_text_and_as_numbers(tmp_path):
    codes = [f"{i:05d}" for i in range(100, 140)]
    frame = pd.DataFrame({**columns(400), "g": codes * 10})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert set(groups(tmp_path / "t.csv")) == set(groups(frame)) == set(codes)
    zips = [str(i) for i in range(10_001, 10_041)]
    plain = frame.assign(g=zips * 10)
    plain.to_csv(tmp_path / "t.csv", index=False)
    assert set(groups(tmp_path / "t.csv")) == set(groups(plain)) == set(zips)
    ages = frame.assign(g=list(range(30, 70)) * 10)
    ages.to_csv(tmp_path / "t.csv", index=False)
    for table in (ages, tmp_path / "t.csv", ages.astype({"g": str})):
        with pytest.raises(UserError, match="is numeric with 40 values"):
            audit(table, by=["g"], **PAIR)
        assert len(groups(table, bins={"g": [50]})) == 2


def test_tables_in_different_formats_add_up(tmp_path):
    frame = pd.DataFrame({**columns(120), "g": ["02134", "2134", "1.0"] * 40})
    frame.to_csv(tmp_path / "one.csv", index=False)
    frame[["g", "b", "a", "label"]].to_csv(tmp_path / "two.csv", index=False, sep=";")
    frame.to_parquet(tmp_path / "three.parquet")
    files = [tmp_path / name for name in ("one.csv", "two.csv", "three.parquet")]
    assert (
        groups(files) == groups([frame.copy() for _ in range(3)]) == {"02134": 120, "2134": 120, "1.0": 120}
    )
    truth = frame.assign(g=frame.g == "1.0")
    assert groups([frame, truth]) == {"02134": 40, "2134": 40, "1.0": 40, "True": 40, "False": 80}
