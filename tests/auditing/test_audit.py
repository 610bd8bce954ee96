"""The audit of a table: known answers, planted harm, and input that cannot be audited."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.auditing.output.audit_json import to_dict
from fairpress.core.errors import UserError

MODELS = {"baseline": "fp32", "compressed": ["int8", "int4"]}


def frame(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "label": y,
            "sex": np.where(np.arange(rows) % 2, "F", "M"),
            "fp32": y,
            "int8": np.where(rng.random(rows) < 0.02, 1 - y, y),
        }
    )


def test_propublicas_published_error_rates_come_out_exactly(data_folder):
    """FPR 44.85 / FNR 27.99 and 23.45 / 47.72 (Larson et al., ProPublica 2016), on the unfiltered file."""
    report = audit(
        str(data_folder / "compas" / "compas-scores-two-years.csv"),
        label="two_year_recid",
        baseline="base",
        decide={"base": "decile_score>=5"},
        by=["race"],
    )
    rates = {
        g.values["race"]: (g.n, *(round(100 * g.rates[r].value, 2) for r in ("fpr", "fnr")))
        for g in report.models[0].groups
    }
    assert rates["African-American"] == (3696, 44.85, 27.99)
    assert rates["Caucasian"] == (2454, 23.45, 47.72)


def test_the_group_that_was_made_to_pay_is_found_and_int8_is_not_blamed():
    report = audit(demo_data.table(), by=demo_data.BY, **MODELS)
    int8, int4 = report.comparisons
    assert int8.verdict == "no_harm"
    assert int4.verdict == "harm"
    assert int4.disparate is True
    assert int4.attributes[2].worst_group == {"sex": "Female", "age_group": "65+"}
    worst = next(g for g in int4.attributes[2].groups if g.values == int4.attributes[2].worst_group)
    # The generator takes 9 % of right answers, of which the baseline has 90 %, and flips 1.5 % both ways.
    assert worst.losses[0].estimate.low < 0.9 * 0.09 + 0.015 * 0.8 < worst.losses[0].estimate.high


def test_counts_are_those_of_a_plain_group_by():
    table = demo_data.table(rows=3000)
    pandas = table.to_pandas()
    report = audit(table, by=["sex*age_group"], **MODELS)
    for group in report.models[2].groups:
        part = pandas[(pandas.sex == group.values["sex"]) & (pandas.age_group == group.values["age_group"])]
        assert group.tp == ((part.label == "yes") & (part.int4 == "yes")).sum()
        assert group.fp == ((part.label == "no") & (part.int4 == "yes")).sum()
        assert group.n == len(part)


def test_frames_and_files_of_every_kind_give_the_same_audit(tmp_path):
    table = demo_data.table(rows=2000)
    pandas = table.to_pandas()
    pandas.to_csv(tmp_path / "t.csv", index=False)
    pandas.to_parquet(tmp_path / "t.parquet")
    forms = [table, pandas, pl.from_arrow(table), tmp_path / "t.csv", tmp_path / "t.parquet"]
    result = [to_dict(audit(form, by=["sex"], **MODELS)) for form in forms]
    # The first table carries its task in its metadata, the others are known by the name of the class.
    assert [f.pop("positive_from") for f in result] == ["table", *["name"] * 4]
    tables = [f.pop("provenance").get("table") for f in result]
    assert tables == [None, None, None, str(tmp_path / "t.csv"), str(tmp_path / "t.parquet")]
    assert len({json.dumps(f, allow_nan=False) for f in result}) == 1


def test_numbers_texts_and_truth_values_are_one_class():
    table = frame()
    table["fp32"] = table["fp32"].astype(float)
    table["int8"] = table["int8"].astype(str)
    assert audit(table, baseline="fp32", compressed=["int8"], by=["sex"]).rows == 400


def test_stacked_seeds_take_seeds_and_rows_as_random():
    parts = []
    rng = np.random.default_rng(2)
    base = frame(300)
    for seed in range(4):
        part = base.copy()
        part["int8"] = np.where(rng.random(300) < 0.03, 1 - part["label"], part["label"])
        parts.append(part.assign(seed=seed, row_id=np.arange(300)))
    table = pd.concat(parts)
    report = audit(table, baseline="fp32", compressed=["int8"], by=["sex"], seed_column="seed")
    assert (report.rows, report.seeds) == (300, 4)
    loss = report.comparisons[0].overall.losses[0].estimate
    assert loss.method == "crossed"
    assert loss.n == 300
    assert loss.value == pytest.approx((table["fp32"] != table["int8"]).mean())
    with pytest.raises(UserError, match="exactly once"):
        audit(table.iloc[:-1], baseline="fp32", compressed=["int8"], by=["sex"], seed_column="seed")


def test_a_group_of_three_rows_is_named_and_never_counted_as_fair():
    table = frame()
    table.loc[:2, "sex"] = "X"
    comparison = audit(table, baseline="fp32", compressed=["int8"], by=["sex"]).comparisons[0]
    assert "Judged only together, too few people alone: sex: F, M, X (400 people)." in comparison.headline
    assert {g.verdict for g in comparison.attributes[0].groups} <= {"loss", "not_estimable"}
    # Where the other two are assessed, it has nobody to be judged with.
    large = frame(2000)
    large.loc[:2, "sex"] = "X"
    comparison = audit(large, baseline="fp32", compressed=["int8"], by=["sex"]).comparisons[0]
    assert "not assessed, too few people: sex = X (3)" in comparison.headline
    group = next(g for g in comparison.attributes[0].groups if g.values["sex"] == "X")
    assert group.verdict == "not_estimable"


def test_a_group_without_positives_has_no_tpr_and_says_why():
    table = frame()
    table.loc[table.sex == "F", ["label", "fp32", "int8"]] = 0
    report = audit(table, baseline="fp32", compressed=["int8"], by=["sex"])
    group = next(g for g in report.models[0].groups if g.values["sex"] == "F")
    assert group.rates["tpr"].value is None
    assert group.rates["tpr"].reason == "no positives in this group"


def test_a_constant_predictor_is_flagged():
    table = frame().assign(int8=1)
    report = audit(table, baseline="fp32", compressed=["int8"], by=["sex"])
    assert "one class only" in report.models[1].degenerate


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop(columns="sex"), "no column 'sex'"),
        (lambda t: t.rename(columns={"int8": "int88"}), r"no column 'int8'.*Did you mean 'int88'"),
        (lambda t: t.assign(label=1), "only one class"),
        (lambda t: t.assign(label=np.arange(len(t)) % 3), "3 values.*`positive=`"),
        (lambda t: t.assign(int8=t.int8.where(t.index > 4)), "missing in 5 of 400 rows"),
        (lambda t: t.assign(label=t.label.where(t.index > 0)), "label column 'label' is missing in 1 of 400"),
        (lambda t: t.assign(int8=0.37), "predicts '0.37', which is not a label"),
        (lambda t: t.assign(sex=np.arange(len(t)) / 7), "numeric with 400 values"),
        (lambda t: t.assign(sex=t.label), "equals the label"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence):
        audit(change(frame()), baseline="fp32", compressed=["int8"], by=["sex"])


@pytest.mark.parametrize(
    "name", ['"; DROP TABLE predictions; --', "<script>alert(1)</script>", "a\nb", "../x", "'"]
)
def test_hostile_names_stay_names(name):
    table = frame().rename(columns={"sex": name})
    table[name] = name + table[name]
    report = audit(table, baseline="fp32", compressed=["int8"], by=[name])
    assert {g.values[name] for g in report.models[0].groups} == {name + "F", name + "M"}


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda p: p.write_text("label,sex,fp32\n0,F,0\n1,M"), "line 3: 2 columns, but the header has 3"),
        (lambda p: p.write_bytes(b"label,sex,fp32\n0,\xff\xfe,0\n1,M,1\n"), "not UTF-8 text, line 2"),
        (lambda p: p.write_text(""), "is empty; a table with a header line"),
    ],
)
def test_damaged_csv_is_one_sentence(tmp_path, write, sentence):
    path = tmp_path / "t.csv"
    write(path)
    with pytest.raises(UserError, match=sentence):
        audit(path, baseline="fp32", by=["sex"])


def test_a_truncated_parquet_and_a_pickle_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    frame().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot read"):
        audit(path, baseline="fp32", by=["sex"])
    with pytest.raises(UserError, match="there is no file"):
        audit(tmp_path / "absent.csv", baseline="fp32", by=["sex"])
    (tmp_path / "t.pkl").write_bytes(b"x")
    with pytest.raises(UserError, match="pickle"):
        audit(tmp_path / "t.pkl", baseline="fp32", by=["sex"])


@pytest.mark.parametrize("text", ["decile_score", "1; DROP TABLE x >= 5", "decile_score>=five", ""])
def test_a_decision_is_column_sign_number_and_nothing_else(text):
    with pytest.raises(UserError, match=r"cannot parse|no column"):
        audit(frame(), baseline="b", decide={"b": text}, by=["sex"])
