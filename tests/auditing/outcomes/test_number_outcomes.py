"""Audits of numbers, from the table to the verdict: errors of predictions, scores, and what is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

import fairpress as fp
from fairpress.core.errors import UserError


@pytest.fixture(scope="module")
def ages():
    """Predicted ages: int8 loses three years' accuracy on group C, D is small, the others scatter only."""
    rng = np.random.default_rng(0)
    n = 3000
    race = rng.choice(list("ABCD"), n, p=[0.5, 0.3, 0.18, 0.02])
    age = rng.uniform(18, 80, n).round(1)
    before = age + rng.normal(0, 5, n)
    after = before + rng.normal(0, 0.5, n) + np.where(race == "C", 4.0, 0.0)
    return pd.DataFrame(
        {"age": age, "race": race, "sex": rng.choice(["f", "m"], n), "fp32": before, "int8": after}
    )


def audited(table, outcome="abs_error=age,unit=years", **options):
    chosen = {"baseline": "fp32", "compressed": "int8", "by": "race", "margin": 0.5} | options
    return fp.audit(table, outcome=outcome, **chosen)


def group(report, **values):
    (comparison,) = report.comparisons
    return next(g for a in comparison.attributes for g in a.groups if dict(g.values) == values)


@pytest.mark.parametrize("kind", ["abs_error", "squared_error"])
def test_losses_are_the_paired_means_of_scipy(ages, kind):
    report = audited(ages, f"{kind}=age")
    errors = {m: (ages[m] - ages.age).abs() for m in ("fp32", "int8")}
    if kind == "squared_error":
        errors = {m: e**2 for m, e in errors.items()}
    for name in "ABC":
        inside = ages.race == name
        loss = group(report, race=name).losses[0]
        witness = stats.ttest_rel(errors["int8"][inside], errors["fp32"][inside])
        assert loss.estimate.value == pytest.approx(
            (errors["int8"] - errors["fp32"])[inside].mean(), rel=1e-9
        )
        assert loss.estimate.value / witness.statistic == pytest.approx(
            stats.sem((errors["int8"] - errors["fp32"])[inside]), rel=1e-9
        )
        assert loss.estimate.n == inside.sum()
        assert [x.value for x in loss.levels] == pytest.approx(
            [errors[m][inside].mean() for m in ("fp32", "int8")]
        )


def test_who_loses_is_harmed_and_the_others_are_cleared(ages):
    report = audited(ages)
    (comparison,) = report.comparisons
    assert report.verdict == comparison.verdict == "harm"
    assert [group(report, race=r).verdict for r in "ABCD"] == ["no_harm", "no_harm", "harm", "not_estimable"]
    assert comparison.disparate
    bound = comparison.bounds[0]
    assert bound.upper_group == bound.lower_group == {"race": "C"}
    assert 0.5 < bound.lower < bound.largest.value < bound.upper
    excess = group(report, race="C").losses[0].excess
    inside = ages.race == "C"
    d = (ages.int8 - ages.age).abs() - (ages.fp32 - ages.age).abs()
    assert excess.value == pytest.approx(d[inside].mean() - d[~inside].mean(), rel=1e-9)


def test_no_harm_is_said_exactly_where_the_bound_is_below_the_margin(ages):
    upper = group(audited(ages), race="A").losses[0].upper
    for margin in (upper * 1.001, upper * 0.999):
        cleared = group(audited(ages, margin=margin), race="A").verdict == "no_harm"
        assert cleared == (margin > upper)


def test_scores_that_fall_are_losses_and_errors_that_rise_are():
    rng = np.random.default_rng(1)
    score = rng.normal(0.7, 0.1, 600)
    table = pd.DataFrame({"g": "x", "fp32": score, "int8": score - 0.1 + rng.normal(0, 0.02, 600)})
    falls = audited(table, "score,better=higher", by="g", margin=0.05)
    opposite = table.assign(fp32=-table.fp32, int8=-table.int8)
    rises = audited(opposite, "number,lower=better", by="g", margin=0.05)
    first, second = (r.comparisons[0].overall for r in (falls, rises))
    assert first.verdict == second.verdict == "harm"
    assert first.losses[0].estimate.value == pytest.approx(second.losses[0].estimate.value, rel=1e-9)
    assert first.losses[0].upper == pytest.approx(second.losses[0].upper, rel=1e-9)
    assert first.changes["score"].value < 0 < second.changes["number"].value
    assert "mean score of no assessed group falls" in falls.comparisons[0].headline
    assert "mean value of no assessed group rises" in rises.comparisons[0].headline


def test_a_named_column_of_every_model(ages):
    table = ages.rename(columns={"fp32": "fp32.ms", "int8": "int8.ms"})
    report = audited(table, "number=ms,better=lower,unit=ms")
    assert report.outcome.measures["number"].name == "mean ms"
    assert report.models[0].overall.rates["number"].value == pytest.approx(ages.fp32.mean())


def test_people_are_the_unit_where_rows_repeat(ages):
    table = pd.concat([ages, ages], ignore_index=True).assign(person=np.tile(np.arange(len(ages)), 2))
    twice, once = audited(table, subject="person"), audited(ages)
    assert twice.subjects == len(ages)
    for name in "ABC":
        a, b = (group(r, race=name).losses[0] for r in (twice, once))
        assert a.upper == pytest.approx(b.upper, rel=1e-9)
    assert min(twice.min_rows.values()) == 30


def test_weights_count_like_copies_of_rows_in_means(ages):
    weight = np.where(ages.index % 2, 2.0, 1.0)
    weighted = audited(ages.assign(w=weight), weight="w")
    copied = audited(ages.loc[ages.index.repeat(weight.astype(int))])
    for name in "ABC":
        a, b = (group(r, race=name).losses[0].estimate.value for r in (weighted, copied))
        assert a == pytest.approx(b, rel=1e-9)


def test_a_relative_margin_is_a_share_of_the_groups_own_baseline(ages):
    report = audited(ages, margin="20% of baseline")
    c = group(report, race="C")
    assert c.losses[0].margin == pytest.approx(0.2 * c.losses[0].levels[0].value)
    assert group(report, race="A").verdict == "no_harm"
    assert audited(ages, margin="99% of baseline").comparisons[0].overall.verdict == "no_harm"


def test_a_relative_margin_of_negative_levels_is_a_share_of_their_size():
    """Log-likelihoods are negative: 5 % of -2 is a fall of 0.1."""
    rng = np.random.default_rng(0)
    before = rng.normal(-2, 0.5, 800)
    for fall, verdict in ((0.05, "no_harm"), (0.2, "harm")):
        table = pd.DataFrame({"g": "a", "fp32": before, "int8": before - fall + rng.normal(0, 0.1, 800)})
        report = audited(table, "score,better=higher", by="g", margin="5% of baseline")
        assert report.comparisons[0].overall.verdict == verdict
        assert report.comparisons[0].overall.losses[0].margin == pytest.approx(0.05 * -before.mean())


def test_small_groups_are_judged_together(ages):
    names = np.array(["s1", "s2", "s3"])
    table = ages.assign(race=np.where(ages.index < 240, names[ages.index % 3], ages.race))
    report = audited(table)
    (pool,) = report.comparisons[0].attributes[0].pools
    assert {m["race"] for m in pool.members} >= {"s1", "s2", "s3"}
    assert pool.loss.verdict in ("no_harm", "inconclusive", "loss", "harm")


def test_a_handful_of_rows_that_agree_shows_nothing():
    """Ten rows that all lose exactly 1 have no spread at all."""
    table = pd.DataFrame({"g": ["a"] * 10 + ["b"] * 300, "fp32": 0.0, "int8": [1.0] * 10 + [0.0] * 300})
    report = audited(table, "number,better=lower", by="g")
    assert group(report, g="a").verdict == "not_estimable"
    assert group(report, g="b").verdict == "no_harm"


def test_an_outlier_is_named_where_the_trimmed_mean_disagrees():
    rng = np.random.default_rng(3)
    after = rng.normal(0, 1, 400)
    after[0] = 4000.0
    table = pd.DataFrame({"g": "a", "fp32": 0.0, "int8": after})
    report = audited(table, "number,better=lower", by="g", margin=1)
    assert any("a few rows move the mean value" in note for note in report.notes)
    assert abs(report.comparisons[0].overall.changes["number_trimmed"].value) < 0.5
    assert not any("a few rows" in n for n in audited(table[1:], "number,better=lower", by="g").notes)


def test_gaps_and_their_change(ages):
    report = audited(ages)
    gap = next(f.estimate for f in report.fairness if f.model == "int8")
    levels = [g.rates["abs_error"].value for g in report.models[1].groups]
    assert gap.value == pytest.approx(max(levels) - min(levels))
    assert gap.low <= gap.value <= gap.high
    change = report.comparisons[0].attributes[0].gap_changes["abs_error_gap"]
    assert change.low < change.value < change.high


def test_gaps_are_not_capped_at_one():
    rng = np.random.default_rng(5)
    g = np.repeat(["a", "b"], 300)
    before = rng.normal(0, 1, 600) + 100 * (g == "b")
    table = pd.DataFrame({"g": g, "fp32": before, "int8": before + 50 * (g == "b")})
    change = (
        audited(table, "number,better=lower", by="g").comparisons[0].attributes[0].gap_changes["number_gap"]
    )
    assert change.low < 50 < change.high + 1e-9
    assert change.value == pytest.approx(50)


def test_two_models_are_corrected_together_as_a_study(ages):
    table = ages.assign(int4=ages.int8 + 1)
    report = audited(table, compressed=["int8", "int4"], family="study")
    assert [c.compressed for c in report.comparisons] == ["int8", "int4"]


def test_levels_alone_without_a_compressed_model(ages):
    report = fp.audit(ages, outcome="abs_error=age", baseline="fp32", compressed=[], by="race")
    assert not report.comparisons
    assert "mean absolute error" in report.to_markdown()
    assert str(report)


def test_a_table_records_its_outcome(ages):
    schema = {b"fairpress.outcome": b"abs_error=age", b"fairpress.models": b"fp32\nint8"}
    table = pa.Table.from_pandas(ages, preserve_index=False).replace_schema_metadata(schema)
    report = fp.audit(table, by="race", margin=0.5)
    assert report.outcome.kind == "abs_error"
    assert report.verdict == "harm"


def test_a_baseline_that_errs_more_than_a_constant_is_named(ages):
    report = audited(ages.assign(fp32=ages.fp32 * 12))
    assert any("more than always predicting" in line for line in report.warnings)


def test_attributes_are_cut_into_bins(ages):
    report = audited(ages.assign(years=ages.age), by="years", bins={"years": [40, 60]})
    assert len(report.comparisons[0].attributes[0].groups) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.assign(int8=t.int8.where(t.index != 7)),
            "'int8' (the predictions of model 'int8') is missing in row 8",
        ),
        (lambda t: t.assign(int8=t.int8.where(t.index != 7, np.inf)), "is infinite in row 8"),
        (lambda t: t.assign(age=t.age.astype(str).where(t.index != 4, "old")), "row 5 has 'old'"),
        (lambda t: t.assign(fp32=t.fp32 * 1e200), "too large to be squared"),
        (lambda t: t.drop(columns="age"), "no column 'age'"),
        (lambda t: t[:0], "has no rows"),
    ],
)
def test_a_column_that_does_not_hold_finite_numbers_is_refused_by_name(ages, change, message):
    with pytest.raises(UserError) as error:
        audited(change(ages), "abs_error=age")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": None}, "needs a margin"),
        ({"margin": 0}, "greater than 0"),
        ({"margin": float("nan")}, "greater than 0"),
        ({"margin": "0.5 kg"}, "is not a margin"),
        ({"margin": "0.5pp"}, "is not a margin"),
        ({"margin": {"risk": 0.5}}, "no metric 'risk'"),
        ({"margin": "120% of baseline"}, "below 100 %"),
        ({"positive": "1"}, "no positive class"),
        ({"decide": {"int8": "int8>=3"}}, "no threshold"),
        ({"seed_column": "seed"}, "average the values"),
        ({"harm": "fnr"}, "is about classes"),
        ({"metrics": ["accuracy"]}, "is about classes"),
        ({"pairs": "race=A|B"}, "does not go with"),
        ({"min_rows": {"fnr": 3}}, "one number"),
        ({"label": "sex"}, "named twice"),
        ({"by": "fp32"}, "cannot be a sensitive attribute"),
        ({"outcome": "abs_eror=age"}, "Did you mean 'abs_error'?"),
        ({"outcome": "abs_error=age,better=higher"}, "no setting 'better'"),
        ({"outcome": "abs_error=age,per=row"}, "no setting 'per'"),
        ({"outcome": "score"}, "better=higher"),
        ({"outcome": "score,better=more"}, "higher or lower"),
        ({"outcome": "abs_error=age,unit"}, "not name=value"),
        ({"outcome": ""}, "is text"),
        ({"outcome": 3}, "is text"),
        ({"compressed": ["fp32"]}, "named twice"),
        ({"weight": "nothing"}, "no column 'nothing'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_remedy(ages, options, message):
    with pytest.raises(UserError) as error:
        audited(ages, **{"outcome": "abs_error=age,unit=years", **options})
    assert message in str(error.value)


@pytest.mark.parametrize(
    "margin", [0.5, "0.5", "0.5 years", ("0.5",), {"margin": 0.5, "reason": "agreed"}, {"abs_error": 0.5}]
)
def test_margins_are_written_in_the_unit(ages, margin):
    report = audited(ages, margin=margin)
    assert report.margins["abs_error"].value == 0.5
    assert report.verdict == "harm"


def test_a_subject_is_not_missing(ages):
    with pytest.raises(UserError, match="subject column 'p' is missing in 1 of 3,000 rows, first in row 3"):
        audited(ages.assign(p=[None if i == 2 else f"p{i}" for i in range(3000)]), subject="p")


def test_weights_are_not_negative(ages):
    with pytest.raises(UserError, match="negative in row 2"):
        audited(ages.assign(w=[-1.0 if i == 1 else 1.0 for i in range(3000)]), weight="w")


def test_classes_are_audited_as_before(ages):
    table = ages.assign(
        label=(ages.age > 40).astype(int), a=(ages.fp32 > 40).astype(int), b=(ages.int8 > 40).astype(int)
    )
    options = {"baseline": "a", "compressed": "b", "by": "race"}
    plain, named = fp.audit(table, **options), fp.audit(table, outcome="class", **options)
    assert plain.outcome is None
    assert plain.margin == 0.02
    assert json.dumps(plain.to_dict(), default=str) == json.dumps(named.to_dict(), default=str)
    assert "outcome" not in plain.to_dict()


def test_open_verdicts_say_what_more_rows_would_do(ages):
    upper = group(audited(ages), race="B").losses[0].upper
    report = audited(ages, margin=upper * 0.8)
    loss = group(report, race="B").losses[0]
    assert loss.verdict in ("inconclusive", "loss")
    if loss.verdict == "inconclusive":
        plan = loss.rows_to_decide
        assert plan.more is None or plan.more > 0
        assert plan.decided == pytest.approx(plan.no_harm + plan.loss)
        assert any("for one look" in note for note in report.notes)
    assert group(report, race="C").losses[0].rows_to_decide is None
