"""A value is what the file says: groups, people, categories and classes keep their spelling, in every format."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pytest

from fairpress import datasets
from fairpress.core.errors import UserError

ROWS = 400


def table(**columns) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    score = rng.normal(size=ROWS)
    base = {
        "score": score.round(3),
        "sex": rng.choice(["F", "M"], ROWS),
        "y": np.where(score + rng.normal(size=ROWS) > 0, "yes", "no"),
    }
    return pd.DataFrame(base | columns)


def some(*values):
    return np.random.default_rng(3).choice(np.array(values, dtype=object), ROWS)


@pytest.fixture
def load(tmp_path):
    def load(frame: pd.DataFrame, more: str = "", kind: str = "csv", **lines):
        path = tmp_path / f"t.{kind}"
        frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
        keys = {"label": "y", "positive": "yes", "features": "[score]", "sensitive": "[sex]"} | lines
        text = f"path: t.{kind}\n" + "".join(f"{k}: {v}\n" for k, v in keys.items() if v) + more
        (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
        return datasets.load(str(tmp_path / "t.yaml"))

    return load


NAMES = [
    ("02134", "2134"),
    ("18_24", "1824", "25_34"),
    ("1e3", "1000"),
    ("1.10", "1.1"),
    ("0x10", "16"),
    ("True", "1"),
    (" a", "a b"),
    ("10000000000000000001", "10000000000000000002"),
    ("2024-05-01", "2024-05-02"),
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("names", NAMES)
def test_groups_people_and_categories_are_told_apart_by_every_character(load, names, kind):
    who = np.array([f"{10**19 + i // 2}" for i in range(ROWS)])
    frame = table(g=some(*names), c=some(*names), who=who)
    data = load(frame, kind=kind, sensitive="[g]", features="[score, c]", categorical="[c]", subject="who")
    np.testing.assert_array_equal(data.attributes["g"], frame.g.astype(str))
    np.testing.assert_array_equal(data.features["c"], frame.c.astype(str))
    np.testing.assert_array_equal(data.subjects, who)
    assert {n for n in data.input_names if n.startswith("c=")} <= {f"c={n}" for n in names}


def test_any_text_is_a_group_of_its_own_in_csv_and_parquet(load):
    draw = np.random.default_rng(0)
    letters = list("0123456789.eE+-_xab ÄßTrufals'\"\\;|\t/{}[]()<>&%$#@!^~`*=?")
    names = sorted({"".join(draw.choice(letters, draw.integers(1, 7))) for _ in range(150)})
    names = [n for n in names if n.strip()]
    frame = table(g=some(*names))
    for kind in ("csv", "parquet"):
        data = load(frame, kind=kind, sensitive="[g]")
        np.testing.assert_array_equal(data.attributes["g"], frame.g.astype(str))


@pytest.mark.parametrize(
    ("values", "spelt"),
    [
        (some(1, 2).astype(int), {"1", "2"}),
        (some(1, 2).astype(float), {"1.0", "2.0"}),
        (some(True, False).astype(bool), {"True", "False"}),
        (some(0.1, 0.25).astype(np.float32), {"0.1", "0.25"}),
        (some(decimal.Decimal("1.10"), decimal.Decimal("2.00")), {"1.10", "2.00"}),
        (pd.to_datetime(some("2024-05-01", "2024-06-01")), {"2024-05-01", "2024-06-01"}),
        (pd.Categorical(some("u", "v")), {"u", "v"}),
    ],
)
def test_typed_values_of_parquet_are_the_groups_that_csv_has(load, values, spelt):
    frame = table(g=values)
    for kind in ("csv", "parquet"):
        assert set(load(frame, kind=kind, sensitive="[g]").attributes["g"]) == spelt


@pytest.mark.parametrize(
    ("values", "given", "positive"),
    [
        ([0.0, 1.0], "1.0", "1.0"),
        ([0.0, 1.0], "1", "1.0"),
        ([0, 1], "1.0", "1"),
        ([0, 1], "true", "1"),
        ([False, True], "True", "True"),
        ([False, True], "true", "True"),
        ([False, True], "1", "True"),
        (["01", "02"], "02", "02"),
        (["1_0", "2_0"], "2_0", "2_0"),
        (["no", "yes"], "yes", "yes"),
        (["off", "on"], "on", "on"),
        (["n", "y"], "y", "y"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_positive_class_is_found_however_yaml_or_table_write_it(load, values, given, positive, kind):
    frame = table()
    frame["y"] = np.where(
        frame.y == "yes", np.array(values, dtype=object)[1], np.array(values, dtype=object)[0]
    )
    frame["y"] = frame.y.infer_objects()
    data = load(frame, kind=kind, positive=given)
    assert data.task.positive == positive
    np.testing.assert_array_equal(data.labels == data.task.classes.index(positive), table().y == "yes")


def test_names_and_classes_in_yaml_mean_the_text_in_the_file(load):
    frame = table(age=np.arange(ROWS) % 4, y=some("no", "yes", "on", "02", "1e3", "null"))
    data = load(
        frame.replace({"y": {"null": "on"}}),
        positive="02",
        classes="[no, yes, on, 02, 1e3]",
        sensitive="{a: {column: age, bins: [1, 2, 3], names: [18_24, 02134, on, 2024-05-01]}}",
    )
    assert data.task.classes == ("no", "yes", "on", "02", "1e3")
    assert set(data.attributes["a"]) == {"18_24", "02134", "on", "2024-05-01"}


def test_two_spellings_of_one_number_are_one_class_and_said(load):
    frame = table(y=some("1", "1.0", "0"))
    data = load(frame, positive="1")
    assert len(data.task.classes) == 2
    assert any("are one class" in note for note in data.notes)


def test_classes_that_differ_in_case_or_a_dot_only_are_refused_unless_listed(load):
    frame = table(y=some(">50K", ">50K.", "<=50K"))
    with pytest.raises(
        UserError, match=r"'>50K' and '>50K\.', which differ in case, blanks or a trailing dot only"
    ):
        load(frame, positive='">50K"')
    listed = load(frame, positive='">50K"', classes='["<=50K", ">50K", ">50K."]')
    assert len(listed.task.classes) == 3


def test_one_class_or_several_against_the_rest_make_two_classes(load):
    frame = table(y=some("low", "mid", "high", "top"))
    data = load(frame, positive=None, positive_is="[high, top]")
    assert data.task.classes == ("other", "high or top")
    np.testing.assert_array_equal(data.labels == 1, frame.y.isin(["high", "top"]))
    assert any("'high or top'" in note for note in data.notes)
    assert load(frame, positive=None, positive_is="top").task.classes == ("other", "top")
    two = load(table(), positive=None, positive_is="[no]").task
    assert (two.classes, two.positive) == (("yes", "no"), "no")
    with pytest.raises(UserError, match="either `positive` or `positive_is`"):
        load(frame, positive_is="[top]")
    with pytest.raises(UserError, match="lists every class"):
        load(table(), positive=None, positive_is="[no, yes]")
    with pytest.raises(UserError, match=r"'tip' is not a class of 'y'\. Did you mean 'top'"):
        load(frame, positive=None, positive_is="[tip]")
    with pytest.raises(
        UserError, match=r"several classes against the rest are `positive_is: \[\"high\", \"top\"\]`"
    ):
        load(frame, positive="[high, top]")


def test_what_was_read_as_missing_is_said_and_can_be_a_value(load):
    frame = table(region=some("NA", "EU"), work=some("a", "b", "?"))
    keys = {"features": "[score, region, work]"}
    with pytest.raises(UserError, match=r"'region' has .* missing values"):
        load(frame, **keys)
    dropped = load(frame, **keys, missing="drop")
    count = int((frame.region == "NA").sum())
    note = f"'NA' in {count} rows of 'region' is read as missing; if it is a value, write `not_missing: [\"NA\"]`."
    assert note in dropped.notes
    retained = load(frame, **keys, not_missing="[NA]")
    assert set(retained.features["region"]) == {"NA", "EU"}
    assert not any("read as missing" in note for note in retained.notes)


def test_further_spellings_mean_missing_in_text_and_numbers_and_their_rows_are_left_out_and_counted(load):
    frame = table(
        work=some("a", "b", "?"), hours=some("40", "38", "-999"), group=np.roll(some("x", "y", "?"), 7)
    )
    keys = {"features": "[score, work, hours]", "sensitive": "[group]", "not_missing": "[]"}
    data = load(frame, **keys, missing='["?", -999]')
    gone = (frame.work == "?") | (frame.hours == "-999")
    assert len(data) == (~gone).sum()
    assert any(f"{gone.sum()} rows are left out" in note for note in data.notes)
    assert any("'?' in" in note and "'work' is read as missing." in note for note in data.notes)
    assert set(data.attributes["group"]) == {"x", "y", "(missing)"}
    assert data.features["hours"].min() == 38
    with pytest.raises(UserError, match=r"'work' has .* missing values.*or set `missing_rows: drop`"):
        load(frame, **keys, missing='["?", -999]', missing_rows="refuse")
    with pytest.raises(UserError, match=r"expected refuse or drop, not '\?'; .*`missing: \[\"\?\"\]`"):
        load(frame, **keys, missing='"?"')
    with pytest.raises(UserError, match=r"'\?' in row 6; if it means that the value is missing, write"):
        load(table(hours=np.where(np.arange(ROWS) == 5, "?", "40")), features="[hours]")


def test_a_list_may_be_given_as_one_value(load):
    assert load(table(), features="score", sensitive="sex").input_names == ("score",)


def test_spellings_of_the_inputs_are_those_of_the_file(load):
    frame = table(whole=np.arange(ROWS) % 3, half=(np.arange(ROWS) % 3).astype(float), code=some("01", "02"))
    data = load(frame, features="[whole, half, code]")
    assert set(data.spellings["whole"]) == {"0", "1", "2"}
    assert set(data.spellings["half"]) == {"0.0", "1.0", "2.0"}
    assert set(data.spellings["code"]) == {"01", "02"}
    assert data.features["code"].dtype.kind == "f"


def test_of_very_many_categories_the_rare_ones_are_pooled_by_training_rows_alone(load):
    common = [f"c{i}" for i in range(3)]
    jobs = np.array([common[i % 3] if i % 2 else f"rare{i}" for i in range(ROWS * 2)])
    frame = pd.concat([table(), table()], ignore_index=True).assign(job=jobs)
    data = load(frame, features="[score, job]")
    assert data.input_names[1:] == ("job=c0", "job=c1", "job=c2", "job=(other)")
    np.testing.assert_array_equal(data.features["job"], jobs)
    assert any(
        "3 are inputs of their own" in note and "share the input (other)" in note for note in data.notes
    )
    # A category that is frequent in the test part only has no input of its own.
    tested = frame.assign(part=np.where(np.arange(len(frame)) < 500, "train", "test"))
    tested.loc[tested.part == "test", "job"] = "only tested"
    assert "job=only tested" not in load(tested, features="[score, job]", split="part").input_names
    with pytest.raises(UserError, match="identifies rows and is not a category"):
        load(frame.assign(job=[f"r{i}" for i in range(len(frame))]), features="[score, job]")


def test_numbers_that_float32_cannot_tell_apart_are_said(load):
    data = load(table(key=2**53 + np.arange(ROWS)), features="[score, key]", not_subject="[key]")
    assert any("stay apart" in note for note in data.notes)


def test_a_header_line_in_the_middle_is_refused_with_its_line(load, tmp_path):
    load(table())
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text + text)
    with pytest.raises(UserError, match=r"header line again in 1 place\(s\), first as row 401 \(line 402\)"):
        datasets.load(str(tmp_path / "t.yaml"))


def test_two_columns_of_one_name_are_refused_where_they_differ_and_named_where_not(load, tmp_path):
    load(table())
    frame = pd.read_csv(tmp_path / "t.csv", dtype=str)
    pd.concat([frame, frame[["sex"]]], axis=1).to_csv(tmp_path / "t.csv", index=False)
    assert any("several columns named 'sex'" in n for n in datasets.load(str(tmp_path / "t.yaml")).notes)
    shuffled = frame[["sex"]].sample(frac=1, random_state=0).reset_index(drop=True)
    pd.concat([frame, shuffled], axis=1).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match="2 columns named 'sex' that differ"):
        datasets.load(str(tmp_path / "t.yaml"))
    frame.assign(Sex="x").to_csv(tmp_path / "t.csv", index=False)
    assert any(
        "'Sex' and 'sex' have nearly the same name" in n
        for n in datasets.load(str(tmp_path / "t.yaml")).notes
    )


@pytest.mark.parametrize(
    ("columns", "warned"),
    [
        ({"patient_nbr": np.arange(ROWS) // 4}, True),
        ({"customerID": [f"c{i // 3}" for i in range(ROWS)]}, True),
        ({"patient_nbr": np.arange(ROWS)}, False),  # one row each
        ({"visits": np.arange(ROWS) % 30}, False),
    ],
)
def test_a_column_that_repeats_like_a_persons_id_is_said_where_no_subject_is_given(load, columns, warned):
    data = load(table(**columns))
    assert bool(data.warnings) == warned
    (name,) = columns
    if warned:
        assert f"Write `subject: {name}`" in data.warnings[0]
        assert not load(table(**columns), not_subject=f"[{name}]").warnings
        assert not load(table(**columns), subject=name).warnings


def test_values_whose_rows_agree_in_every_group_are_people_whatever_their_column_is_called(load):
    who = np.arange(ROWS) // 2
    sex = np.random.default_rng(1).choice(["F", "M"], ROWS // 2)[who]
    assert "'ref'" in load(table(ref=who, sex=sex)).warnings[0]
    assert not load(table(ref=who)).warnings


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2]] * ROWS,
        [{"a": 1}] * ROWS,
        pd.to_datetime(["2024-05-01"] * ROWS),
        pd.to_timedelta([5] * ROWS),
        [None] * ROWS,
    ],
)
def test_parquet_columns_that_no_network_reads_are_refused_by_name(load, values):
    frame = table()
    frame["odd"] = values
    with pytest.raises(UserError, match="column 'odd'"):
        load(frame, kind="parquet", features="[score, odd]")


def test_a_workbook_is_said_to_be_one(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04 and more")
    for name in ("t.xlsx", "t.csv"):
        with pytest.raises(UserError, match="save the sheet as CSV"):
            datasets.load("table", path=str(tmp_path / name), label="y", features=["a"], sensitive=["s"])


def test_a_table_in_the_place_of_a_dataset_is_answered_with_what_to_write(tmp_path):
    (tmp_path / "p.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        UserError, match=r"is a table; describe the table in a YAML file \(docs/your-own-data\.md\)"
    ):
        datasets.load(str(tmp_path / "p.csv"))
