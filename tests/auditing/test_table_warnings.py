"""What makes a table doubtful stands above the results: people with several rows, copies, groups of nearly one name."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pytest

from fairpress.auditing.audit import audit

PAIR = {"baseline": "a", "compressed": ["b"]}


def table(rows: int = 4000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    a = np.where(rng.random(rows) < 0.12, 1 - y, y)
    b = np.where(rng.random(rows) < 0.04, 1 - a, a)
    return pd.DataFrame({"label": y, "sex": rng.choice(["F", "M"], rows), "a": a, "b": b})


def warned(frame, by=("sex",), **options):
    return audit(frame, by=list(by), **{**PAIR, **options}).warnings


def people(rows: int = 4000, each: int = 20, seed: int = 1) -> pd.DataFrame:
    """Rows of people who are of one sex each, in any order."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(rows // each), each))
    sex = rng.choice(["F", "M"], rows // each)[who]
    return table(rows).assign(sex=sex, who=who)


def uuids(who):
    rng = np.random.default_rng(0)
    names = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(int(who.max()) + 1)]
    return [names[i] for i in who]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("patient_nbr", lambda w: w),
        ("CustomerID", lambda w: w + 10_000_000),
        ("user", lambda w: [f"u{i}" for i in w]),
        ("memberNumber", lambda w: w.astype(str)),
        ("MRN", lambda w: [f"{i:08d}" for i in w]),
        ("subject_id", lambda w: w * 1.0),
        ("pid", lambda w: w),
        ("kunde", lambda w: [f"K-{i:05d}" for i in w]),
        ("who", lambda w: w),
        ("contact", lambda w: [f"p{i}@mail.example" for i in w]),
        ("hashed", uuids),
        ("account_key", lambda w: [f"{i:x}" for i in w]),
    ],
)
def test_a_column_that_repeats_like_people_is_named_with_the_remedy(name, written, tmp_path):
    frame = people().rename(columns={"who": name})
    frame[name] = written(frame[name])
    frame.to_csv(tmp_path / "t.csv", index=False)
    for given in (frame, tmp_path / "t.csv"):
        (warning,) = warned(given)
        assert f"{name!r} repeats (200 different values, 20 rows each)" in warning
        assert f"`subject={name!r}`" in warning
    assert warned(frame, subject=name) == ()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("age", lambda r, n: r.integers(17, 90, n)),
        ("zip", lambda r, n: r.integers(10_000, 10_400, n).astype(str)),
        ("postal_code", lambda r, n: [f"{v:05d}" for v in r.integers(100, 600, n)]),
        ("hours", lambda r, n: r.integers(0, 99, n)),
        ("fico", lambda r, n: r.integers(300, 850, n)),
        ("capital_gain", lambda r, n: np.where(r.random(n) < 0.9, 0, r.integers(1, 99_999, n))),
        ("income", lambda r, n: (r.lognormal(10, 0.7, n) // 1000 * 1000).astype(int)),
        ("risk", lambda r, n: r.random(n).round(2)),
        ("fnlwgt", lambda r, n: r.integers(10_000, 12_000, n)),
        ("diag_1", lambda r, n: r.choice([f"{v / 10:.1f}" for v in range(2500, 2900)], n)),
        ("icd", lambda r, n: r.choice([f"{c}{v}" for c in "EIJK" for v in range(100)], n)),
        ("timestamp", lambda r, n: 1_700_000_000 + r.integers(0, 1500, n)),
        ("visit_date", lambda r, n: pd.Timestamp("2024-01-01") + pd.to_timedelta(r.integers(0, 365, n), "D")),
        ("day_of_year", lambda r, n: np.arange(n) % 365),
        ("num_lab_procedures", lambda r, n: r.poisson(40, n)),
        ("admission_type_id", lambda r, n: r.integers(1, 9, n)),
        ("user_type", lambda r, n: r.choice(["new", "returning"], n)),
        ("occupation", lambda r, n: r.choice([f"job {c}" for c in "abcdefghijklmnop"], n)),
        ("id", lambda r, n: np.arange(n)),
        ("patient_nbr", lambda r, n: r.permutation(n)),
        ("bmi", lambda r, n: r.normal(25, 4, n).round(1)),
        ("priors_count", lambda r, n: r.geometric(0.3, n) - 1),
    ],
)
def test_columns_that_merely_have_equal_values_are_not_taken_for_people(name, values, tmp_path):
    frame = table()
    frame[name] = values(np.random.default_rng(2), len(frame))
    frame.to_csv(tmp_path / "t.csv", index=False)
    for given in (frame, tmp_path / "t.csv"):
        assert warned(given) == ()


def test_people_once_a_seed_are_not_repeated_and_several_times_a_seed_are():
    one = table(1000).assign(row_id=range(1000), patient=range(1000))
    runs = pd.concat([one.assign(seed=s) for s in (0, 1, 2)])
    assert warned(runs, seed_column="seed") == ()
    (warning,) = warned(runs.assign(patient=runs.row_id // 2), seed_column="seed")
    assert "'patient' repeats" in warning


def test_a_table_that_stands_in_itself_several_times_is_named():
    once = table(300).assign(race=np.random.default_rng(3).choice(list("ABCDE"), 300))
    assert warned(once) == ()
    (warning,) = warned(pd.concat([once] * 20))
    assert "Every row of the table occurs 20 times or a multiple of it: " in warning


def test_rows_with_an_exact_value_that_stand_twice_are_copies():
    once = table(2000).assign(income=np.random.default_rng(4).random(2000))
    assert warned(once) == ()
    (warning,) = warned(pd.concat([once, once[:400]]))
    assert "400 of 2,400 rows are exact copies of other rows" in warning
    scored = table(2000)
    scored["a.score"] = np.where(scored.a == 1, 0.6, 0.1) + np.random.default_rng(5).random(2000) / 4
    assert warned(scored) == ()
    (warning,) = warned(pd.concat([scored, scored[:400]]))
    assert "400 of 2,400 rows are exact copies of other rows" in warning


def test_equal_rows_of_few_columns_and_equal_scores_of_equal_features_are_natural():
    assert warned(table(20_000)) == ()
    rng = np.random.default_rng(6)
    features = rng.integers(0, 300, 6000)
    score = rng.random(300)[features]
    y = (rng.random(6000) < score).astype(int)
    frame = pd.DataFrame(
        {"label": y, "sex": rng.choice(["F", "M"], 300)[features], "a.score": score, "b.score": score**1.1}
    )
    assert warned(frame) == ()


def test_row_ids_that_repeat_are_named_unless_they_are_of_seeds():
    frame = table(1000).assign(row_id=np.arange(1000) % 500, fold=np.arange(1000) // 500)
    (warning,) = warned(frame)
    assert "'row_id' has 500 different values in 1,000 rows" in warning


def test_groups_that_differ_by_capitals_blanks_or_a_dot_stay_apart_and_are_named():
    frame = table()
    frame.loc[:99, "sex"] = "f"
    frame.loc[100:149, "sex"] = " F"
    report = audit(frame, by=["sex"], **PAIR)
    assert {g.values["sex"] for g in report.models[0].groups} == {"F", " F", "f", "M"}
    (warning,) = report.warnings
    assert "'f' (100 rows)" in warning
    assert "' F' (50 rows)" in warning


def test_a_baseline_worse_than_one_answer_for_everybody_is_doubted():
    frame = table()
    frame["a"] = 1 - frame.a
    (warning,) = warned(frame)
    assert "The baseline 'a' is right in 12." in warning
    assert "less often than always answering" in warning


def test_a_wide_table_and_one_with_odd_columns_are_looked_at_all_the_same():
    wide = pd.concat([people(), pd.DataFrame({f"x{i}": np.arange(4000) for i in range(600)})], axis=1)
    wide["list"] = [[1]] * 4000
    assert "'who' repeats" in warned(wide)[0]
