"""Tables that can be read in two ways are refused with the place, and odd ones are one sentence."""

from __future__ import annotations

import datetime
import decimal
import gzip
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fairpress import api
from fairpress.auditing.audit import audit
from fairpress.core.errors import UserError

PAIR = {"baseline": "a", "compressed": ["b"], "by": ["g"]}


def table(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    a = np.where(rng.random(rows) < 0.1, 1 - y, y)
    b = np.where(rng.random(rows) < 0.05, 1 - a, a)
    return pd.DataFrame({"label": y, "g": rng.choice(["x", "y"], rows), "a": a, "b": b})


def refused(given, **options) -> str:
    with pytest.raises(UserError) as raised:
        audit(given, **{**PAIR, **options})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def counts(given, **options):
    return {g.values["g"]: g.n for g in audit(given, **{**PAIR, **options}).models[0].groups}


def test_a_header_in_the_middle_is_refused_with_its_line(tmp_path):
    text, other = table().to_csv(index=False), table()[["b", "g", "a", "label"]].to_csv(index=False)
    files = {
        "two.csv": text + text,
        "two.tsv": (text + text).replace(",", "\t"),
        "bom.csv": "\ufeff" + text + "\ufeff" + text,
        "other.csv": text + other,
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert f"{name}, line 302: the header is repeated" in refused(tmp_path / name)
    with gzip.open(tmp_path / "two.csv.gz", "wt") as file:
        file.write(text + text)
    assert "two.csv.gz, line 302: the header" in refused(tmp_path / "two.csv.gz")
    read = pd.read_csv(tmp_path / "two.csv", dtype=str)
    read.to_parquet(tmp_path / "two.parquet")
    for given in (read, tmp_path / "two.parquet"):
        assert "row 301: the header is repeated" in refused(given)
    assert "line 302: the header" in refused(tmp_path / "two.csv", weight="b")


def test_a_class_called_like_a_column_is_no_header():
    frame = table()
    for column in ("label", "a", "b"):
        frame[column] = frame[column].map({0: "g", 1: "label"})
    assert audit(frame, **PAIR, positive="g").classes == ("g", "label")


def test_two_columns_of_one_name_are_refused_where_they_differ(tmp_path):
    frame = table()
    twice = pd.concat([frame, frame[["g"]].sample(frac=1, random_state=0).reset_index(drop=True)], axis=1)
    same = pd.concat([frame, frame[["g"]]], axis=1)
    twice.to_csv(tmp_path / "twice.csv", index=False)
    same.to_csv(tmp_path / "same.csv", index=False)
    arrow = pa.Table.from_arrays([pa.array(twice.iloc[:, i]) for i in range(5)], names=list(twice.columns))
    for given in (twice, tmp_path / "twice.csv", arrow):
        assert "has two columns 'g' (a sensitive attribute) that differ" in refused(given)
    for given in (same, tmp_path / "same.csv"):
        assert counts(given) == counts(frame)


def test_columns_whose_names_differ_in_capitals_are_two_columns(tmp_path):
    frame = table().assign(G=np.random.default_rng(1).choice(["v", "w"], 300))
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    for given in (
        frame,
        tmp_path / "t.csv",
        tmp_path / "t.parquet",
        pa.Table.from_pandas(frame),
        pl.from_pandas(frame),
    ):
        for by, names in (("g", {"x", "y"}), ("G", {"v", "w"})):
            assert {g.values[by] for g in audit(given, **{**PAIR, "by": by}).models[0].groups} == names


@pytest.mark.parametrize(
    ("label", "other"), [("yes", "Yes"), ("yes", "yes "), (">50K", ">50K."), ("low income", "low  income")]
)
def test_classes_that_differ_by_capitals_blanks_or_a_dot_are_refused_with_both(label, other):
    frame = table()
    for column in ("label", "a", "b"):
        frame[column] = np.where(frame[column] == 1, label, "no")
    assert audit(frame, **PAIR)
    slip = frame.assign(label=frame.label.mask((frame.index % 50 == 0) & (frame.label == label), other))
    for given in (slip, frame.assign(b=frame.b.replace(label, other))):
        message = refused(given)
        assert repr(label) in message
        assert repr(other) in message


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m.onnx", b"\x08\x07\x12\x07pytorch", "is an ONNX model, not a table; run `fairpress predict` first"),
        ("t.xlsx", b"PK\x03\x04", "is an Excel workbook, which is not supported; save the sheet as CSV"),
        ("t.xls", b"\xd0\xcf\x11\xe0", "is an Excel workbook"),
        ("t.csv", b"PK\x03\x04 and more", "is a ZIP archive, not a table; unpack it"),
        ("t.json", b"[]", "is JSON, not a table"),
        ("t.feather", b"ARROW1", "is an Arrow file"),
        ("t.csv", b"label,g\0,a,b\n", "is a binary file"),
        ("t.csv", "label,g,a,b\n1,é,1,1\n".encode("latin-1"), "is not UTF-8 text"),
        ("t.csv", "label,gé,a,b\n1,e,1,1\n".encode("latin-1"), "is not UTF-8 text, line 1"),
        ("t.csv", "label,g\n1,2\n".encode("utf-16"), "is UTF-16 text"),
        ("t.csv", b'label,g,a,b\n1,"x,1,1\n', "a quotation mark not closed"),
        ("t.csv", b"\n\n", "the first line is empty"),
        ("t.csv.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03cut", "is it complete"),
        ("t.parquet", b"PAR1 and nothing else", "Is it complete"),
    ],
)  # fmt: skip
def test_files_that_are_not_tables_say_what_they_are(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert sentence.lower() in refused(tmp_path / name).lower()


def test_folders_and_places_that_are_no_files_are_refused(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.json").write_text("{}")
    assert "is a model folder, not a table; run `fairpress predict` first" in refused(tmp_path / "model")
    assert "is a folder; name its files" in refused(tmp_path)
    assert "there is no file" in refused("x" * 400 + ".csv")
    assert "there is no file" in refused("a\0b.csv")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", "label\n")
    assert "is a ZIP archive" in refused(tmp_path / "t.zip")


@pytest.mark.parametrize(
    "write",
    [
        lambda t: "\ufeff" + t,
        lambda t: t.replace(",", ";"),
        lambda t: t.replace(",", "|"),
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\n\n", 3) + "\n\n",
        lambda t: t.replace("x,", '"x",'),
    ],
)
def test_csv_of_other_dialects_is_the_same_table(write, tmp_path):
    (tmp_path / "t.csv").write_bytes(write(table().to_csv(index=False)).encode())
    assert counts(tmp_path / "t.csv") == counts(table())


def test_a_line_break_in_a_value_and_a_very_long_value_are_values(tmp_path):
    frame = table().replace({"g": {"x": "x\ny;z", "y": "y" * 200_000}})
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert set(counts(tmp_path / "t.csv")) == {"x\ny;z", "y" * 200_000}


def pandas_of(values):
    return table().assign(g=values)


def arrow_of(values, kind=None):
    return pa.Table.from_pandas(table(), preserve_index=False).set_column(1, "g", pa.array(values, kind))


def polars_of(values, kind=None):
    return pl.from_pandas(table()).with_columns(g=pl.Series(values, dtype=kind))


AGES = np.random.default_rng(5).integers(1, 90, 300)
THREE = np.arange(300) % 3


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: pandas_of(pd.cut(AGES, [0, 25, 45, 100])), {"(0, 25]", "(25, 45]", "(45, 100]"}),
        (lambda: pandas_of(pd.PeriodIndex(["2024-01", "2024-02"] * 150, freq="M")), {"2024-01", "2024-02"}),
        (lambda: pandas_of(pd.arrays.SparseArray(THREE)), {"0", "1", "2"}),
        (lambda: pandas_of(pd.to_timedelta(THREE, unit="D")), {f"{i} days 00:00:00" for i in range(3)}),
        (lambda: pandas_of(pd.to_datetime(["2024-01-01", "2024-02-01"] * 150)), {"2024-01-01", "2024-02-01"}),
        (lambda: pandas_of(pd.to_datetime(["2024-01-01", None] * 150)), {"2024-01-01", "(missing)"}),
        (lambda: pandas_of(pd.array([True, False, None] * 100, dtype="boolean")), {"True", "False", "(missing)"}),
        (lambda: pandas_of(pd.array([1, None, 3] * 100, dtype="Int64")), {"1", "3", "(missing)"}),
        (lambda: pandas_of(pd.Categorical(THREE)), {"0", "1", "2"}),
        (lambda: pandas_of(THREE.astype(np.float32) / 10), {"0.0", "0.1", "0.2"}),
        (lambda: pandas_of([b"p", b"q"] * 150), {"p", "q"}),
        (lambda: arrow_of(list(THREE), pa.float16()), {"0.0", "1.0", "2.0"}),
        (lambda: arrow_of(["p", "q", None] * 100, pa.string_view()), {"p", "q", "(missing)"}),
        (lambda: arrow_of(["p", "q", None] * 100, pa.large_string()), {"p", "q", "(missing)"}),
        (lambda: arrow_of([decimal.Decimal(i) for i in range(3)] * 100, pa.decimal256(60, 1)), {"0.0", "1.0", "2.0"}),
        (lambda: arrow_of([253_402_300_800] * 300, pa.timestamp("s")), {"10000-01-01 00:00:00"}),
        (lambda: arrow_of([None] * 300, pa.null()), {"(missing)"}),
        (lambda: arrow_of([datetime.time(i) for i in range(3)] * 100), {"00:00:00", "01:00:00", "02:00:00"}),
        (lambda: polars_of(["p", "q", None] * 100, pl.Categorical), {"p", "q", "(missing)"}),
        (lambda: polars_of([datetime.timedelta(1)] * 300), {"1 day, 0:00:00"}),
    ],
)  # fmt: skip
def test_columns_of_rare_types_are_groups_as_they_are_written(make, names):
    assert set(counts(make())) == names


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: pandas_of([[1]] * 300), "holds a list, not plain values"),
        (lambda: pandas_of([{"p": 1}] * 300), "holds a dict, not plain values"),
        (lambda: arrow_of([[1]] * 300), "holds list<.*>, not plain values"),
        (lambda: pandas_of([object()] * 300), "holds objects"),
        (lambda: {**table().to_dict("list"), "g": ["x", "y"]}, "'g' has 2 values and 'label' 300"),
        (lambda: {**table().to_dict("list"), "g": "x"}, "'g' holds a single value instead of one per row"),
        (lambda: {**table().to_dict("list"), "g": np.zeros((300, 2))}, "'g' is not one-dimensional"),
        (lambda: np.zeros(3, dtype=[("label", int)]), "cannot audit an object of type numpy.ndarray; pass"),
        (lambda: None, "cannot audit an object of type NoneType; pass"),
        (list, "the list of tables is empty"),
        (dict, "has no column 'label'"),
        (lambda: pandas_of(np.random.default_rng(0).random(300)), "is numeric with 300 values"),
    ],
)
def test_what_is_no_table_of_plain_values_is_refused_with_the_cause(make, sentence):
    with pytest.raises(UserError, match=sentence):
        audit(make(), **PAIR)


def test_a_column_that_nobody_asked_for_may_hold_anything():
    assert counts(table().assign(boxes=[[1, 2]] * 300, what=[{"p": 1}] * 300)) == counts(table())


def test_columns_of_several_levels_and_numbers_are_called_by_their_text():
    frame = table()
    frame.columns = pd.MultiIndex.from_tuples([(c, "") for c in frame.columns])
    assert counts(frame) == counts(table())
    numbered = table().rename(columns={"g": 5})
    assert {g.values["5"] for g in audit(numbered, **{**PAIR, "by": "5"}).models[0].groups} == {"x", "y"}


def test_one_name_is_a_list_of_one_and_what_is_none_says_so():
    frame = table()
    frame["h"] = frame.g.map({"x": "p", "y": "q"})
    expected = audit(frame, **PAIR, metrics=["tpr"], harm="fnr", pairs=["g=x|y"])
    options = {"by": "g", "metrics": "tpr", "harm": "fnr", "pairs": "g=x|y"}
    assert audit(frame, baseline="a", compressed="b", **options) == expected
    assert "`by=` is a list of names, and an intersection is one of them: `by=['g*h']`" in refused(
        frame, by=[("g", "h")]
    )
    for name, sentence in {
        "by": (None, "name at least one sensitive attribute"),
        "bins": (5, "`bins=` is a dict"),
        "decide": ("a>=1", "`decide=` is a dict"),
        "margin": ("2", "for 2 percentage points write 0.02 or 2pp"),
        "confidence": (None, "the confidence is a number"),
        "subject": (3, "`subject=` is the name of one column"),
        "compressed": ([7], "`compressed=` is a list of names"),
    }.items():
        assert sentence[1] in refused(frame, **{name: sentence[0]})
    assert api.export_cells(frame, baseline="a", compressed="b", by="g").num_rows > 3


@pytest.mark.parametrize(
    ("one", "other", "groups"),
    [
        (pa.int32(), pa.int64(), {"1", "2"}),
        (pa.int8(), pa.uint64(), {"1", "2"}),
        (pa.int64(), pa.float64(), {"1.0", "2.0"}),
        (pa.int64(), pa.string(), {"1", "2"}),
    ],
)
def test_numbers_of_several_widths_are_the_same_groups_in_all_files(one, other, groups, tmp_path):
    whole = table()
    tables = []
    for i, kind in enumerate((one, other)):
        column = pa.array([1, 2] * 150).cast(kind)
        tables.append(pa.Table.from_pandas(whole.drop(columns="g")).append_column("g", column))
        pq.write_table(tables[-1], tmp_path / f"{i}.parquet")
    for given in (tmp_path / "?.parquet", tables, [tmp_path / "0.parquet", tables[1]]):
        assert counts(str(given) if not isinstance(given, list) else given) == dict.fromkeys(groups, 300)


def test_decimals_and_times_of_several_precisions_are_the_same_groups():
    whole = pa.Table.from_pandas(table().drop(columns="g"))
    days = [datetime.datetime(2024, 5, 1), datetime.datetime(2024, 5, 2)] * 150
    for values, one, other in (
        ([0.1, 0.25] * 150, pa.float32(), pa.float64()),
        (days, pa.timestamp("us"), pa.timestamp("ns")),
        (days, pa.timestamp("s"), pa.date32()),
    ):
        tables = [whole.append_column("g", pa.array(values).cast(kind)) for kind in (one, other)]
        names = {"0.1", "0.25"} if one == pa.float32() else {"2024-05-01", "2024-05-02"}
        assert counts(tables) == dict.fromkeys(names, 300)


def test_long_ids_of_two_integer_types_stay_apart(tmp_path):
    ids = [2**53 + i for i in range(300)]
    for name, kind in (("a", pa.int64()), ("b", pa.uint64())):
        pq.write_table(
            pa.Table.from_pandas(table()).append_column("who", pa.array(ids, kind)),
            tmp_path / f"{name}.parquet",
        )
    assert audit(str(tmp_path / "?.parquet"), subject="who", **PAIR).subjects == 300


def test_a_file_without_an_attribute_is_named_and_is_no_group_of_missing_values(tmp_path):
    table().to_csv(tmp_path / "a.csv", index=False)
    table().drop(columns="g").to_csv(tmp_path / "b.csv", index=False)
    assert "b.csv has no column 'g'" in refused([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])


def test_missing_values_of_pandas_among_objects_are_missing():
    frame = table().assign(g=np.array(["x", pd.NA, "y"] * 100, dtype=object))
    for given in (frame, {name: frame[name].tolist() for name in frame}):
        assert counts(given) == {"x": 100, "y": 100, "(missing)": 100}


@pytest.mark.parametrize(("rows", "values"), [(2000, 20_000), (10_000, 100_000)])
def test_people_who_share_an_income_by_chance_are_no_copies(rows, values):
    for seed in range(3):
        frame = table(rows, seed)
        frame["income"] = np.random.default_rng(seed).integers(0, values, rows)
        frame["bracket"] = frame["income"] // (values // 20)
        assert audit(frame, **PAIR).warnings == ()
        copied = pd.concat([frame, frame[: rows // 20]])
        assert "exact copies" in audit(copied, **PAIR).warnings[0]


def test_twenty_copies_of_a_small_table_are_found():
    assert "occurs 20 times" in audit(pd.concat([table(100)] * 20), **PAIR).warnings[0]


@pytest.mark.parametrize(
    "name", ["num_accounts", "no_patients", "clinic_id", "teacher_id", "branch_id", "job_title"]
)
def test_counts_and_places_are_not_taken_for_people(name):
    frame = table(2000)
    frame[name] = np.random.default_rng(0).integers(0, 90, 2000)
    assert audit(frame, **PAIR).warnings == ()
    assert "`subject='account_id'`" in audit(frame.rename(columns={name: "account_id"}), **PAIR).warnings[0]
