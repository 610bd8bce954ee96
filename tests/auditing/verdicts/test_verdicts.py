"""What a verdict sums up: everybody counts, nothing to lose is no all-clear, and what was not assessed is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairpress import audit
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.verdicts.multiplicity import reachable
from fairpress.auditing.verdicts.rules import artifact_verdict, judge, run_tests
from fairpress.core.errors import UserError

PAIR = {"baseline": "old", "compressed": ["new"]}


def rows(label, old, new, **attributes):
    return pd.DataFrame({"label": label, "old": old, "new": new, **attributes})


def noisy(label, error, rng):
    return np.where(rng.random(len(label)) < error, 1 - label, label)


def compared(table, by=("g",), **options):
    return audit(table, by=list(by), **PAIR, **options).comparisons[0]


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def many_small_groups(rng):
    """Everybody loses 4 points, and no group of 150 can show it by itself."""
    n = 40 * 150
    label = rng.integers(0, 2, n)
    old = noisy(label, 0.1, rng)
    return rows(label, old, noisy(old, 0.05, rng), g=[f"g{i % 40}" for i in range(n)])


def test_everybody_counts_in_the_verdict(rng):
    comparison = compared(many_small_groups(rng))
    # Of 150 people no harm can be ruled out or shown; a loss is shown in the groups that lose most.
    assert {g.verdict for g in comparison.attributes[0].groups} == {"loss", "not_estimable"}
    assert comparison.overall.verdict == comparison.verdict == "harm"
    assert "Shown to rise for everybody: error rate by at least 3.3" in comparison.headline


def test_everybody_is_one_more_group_of_the_family():
    """One group only, with the flips of everybody: the same coins, so that the second test costs nothing."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 1000)
    new = label.copy()
    new[:6] = 1 - new[:6]
    comparison = compared(rows(label, label, new, g=["a"] * 1000), metrics=["accuracy"])
    everybody, group = (
        g.losses[0].estimate for g in (comparison.overall, comparison.attributes[0].groups[0])
    )
    assert everybody == group
    assert everybody.p == 0.5**6
    assert everybody.p_adjusted == pytest.approx(0.5**6, abs=0.003)
    holm = compared(rows(label, label, new, g=["a"] * 1000), metrics=["accuracy"], correction="holm")
    assert holm.overall.losses[0].estimate.p_adjusted == 2 * holm.overall.losses[0].estimate.p


def test_groups_of_thirty_are_judged_together_where_all_people_are_enough(rng):
    label = rng.integers(0, 2, 600)
    comparison = compared(rows(label, label, label, g=[f"g{i % 20}" for i in range(600)]))
    assert {g.verdict for g in comparison.attributes[0].groups} == {"not_estimable"}
    assert comparison.overall.verdict == comparison.verdict == "no_harm"
    assert "Judged only together, too few people alone: g: g0, g1," in comparison.headline


def test_too_few_people_altogether_are_no_verdict(rng):
    label = rng.integers(0, 2, 300)
    comparison = compared(rows(label, label, label, g=[f"g{i % 20}" for i in range(300)]))
    assert comparison.overall.verdict == comparison.verdict == "not_estimable"
    assert comparison.headline.startswith(
        "Too few rows for any verdict by group; not assessed, too few people: g = g0"
    )


def test_no_harm_on_average_is_no_verdict_where_no_group_could_be_assessed():
    assert artifact_verdict("no_harm", ["not_estimable"] * 3) == "not_estimable"
    assert artifact_verdict("loss", ["not_estimable"] * 3) == "loss"
    assert artifact_verdict("no_harm", ["not_estimable", "no_harm"]) == "no_harm"


def constant(rng, value):
    label = rng.integers(0, 2, 4000)
    return label, np.full(4000, value)


@pytest.mark.parametrize("value", [0, 1])
def test_models_that_predict_one_class_only_are_void(rng, value):
    label, always = constant(rng, value)
    comparison = compared(rows(label, always, always, g=rng.choice(["a", "b"], 4000)))
    assert comparison.verdict == "void"
    assert f"new predicts one class only ({value})" in comparison.void
    assert {g.verdict for g in comparison.attributes[0].groups} == {"void"}  # not "no harm"


def test_a_baseline_that_nearly_never_predicts_a_class_has_nothing_to_lose(rng):
    label = (rng.random(8000) < 0.12).astype(int)
    old = np.zeros(8000, int)
    old[:3] = 1
    comparison = compared(rows(label, old, np.zeros(8000, int), g=rng.choice(["a", "b"], 8000)))
    assert comparison.verdict == "void"
    assert "old nearly never predicts '1': in 3 rows, where" in comparison.void


def test_a_rare_class_that_is_predicted_rarely_and_well_is_not_void(rng):
    """1 % of the rows are positive, and the model finds half of them: few predictions, and the right ones."""
    label = (rng.random(20000) < 0.01).astype(int)
    old = label * (rng.random(20000) < 0.5)
    new = np.where(rng.random(20000) < 0.0002, 1 - old, old)
    assert compared(rows(label, old, new, g=rng.choice(["a", "b"], 20000))).void is None


def test_a_cautious_model_that_beats_never_is_not_void(rng):
    """It predicts 3 % of the positives and is always right: rarely, and better than never."""
    label = (rng.random(20000) < 0.2).astype(int)
    old = label * (rng.random(20000) < 0.03)
    assert compared(rows(label, old, old, g=rng.choice(["a", "b"], 20000))).void is None
    right = (rng.random(20000) < 0.5).astype(int)  # as rarely, and right every other time
    comparison = compared(
        rows(label, np.where(old == 1, 1, 0) * right, old * 0, g=rng.choice(["a", "b"], 20000))
    )
    assert comparison.void is not None


def test_a_class_weighted_model_below_the_majoritys_accuracy_is_not_void(rng):
    """Of 5 % positives it finds most and calls a quarter of the others, too: less often right than "no", and useful."""
    label = (rng.random(20000) < 0.05).astype(int)
    old = np.where(label == 1, rng.random(20000) < 0.8, rng.random(20000) < 0.25).astype(int)
    assert (old == label).mean() < 1 - label.mean()
    assert compared(rows(label, old, old, g=rng.choice(["a", "b"], 20000))).void is None


def test_a_model_that_guesses_is_void(rng):
    label, guess = rng.integers(0, 2, 20000), rng.integers(0, 2, 20000)
    comparison = compared(rows(label, guess, guess, g=rng.choice(["a", "b"], 20000)))
    assert comparison.verdict == "void"
    assert "does not distinguish the classes" in comparison.void


def test_few_rows_are_not_called_guesses(rng):
    label = np.arange(60) % 2
    old = noisy(label, 0.4, rng)
    assert compared(rows(label, old, old, g=["a", "a", "b", "b"] * 15)).void is None


def test_a_class_of_three_that_compression_lost_is_void(rng):
    """The rare class is one row in a hundred: losing all of it costs less accuracy than the margin."""
    label = rng.choice(["a", "b", "rare"], 8000, p=[0.5, 0.49, 0.01])
    new = np.where(label == "rare", "b", label)
    comparison = compared(rows(label, label, new, g=rng.choice(["x", "y"], 8000)))
    assert comparison.verdict == "void"
    assert "new has lost the class 'rare': it predicts it in 0 rows, old in" in comparison.void
    served = compared(
        rows(label, label, np.where(rng.random(8000) < 0.001, "a", label), g=rng.choice(["x", "y"], 8000))
    )
    assert (served.verdict, served.void) == ("no_harm", None)


def test_harm_stays_harm_where_the_compressed_model_gave_up(rng):
    label = rng.integers(0, 2, 4000)
    comparison = compared(
        rows(label, noisy(label, 0.1, rng), np.zeros(4000, int), g=rng.choice(["a", "b"], 4000))
    )
    assert comparison.verdict == "harm"
    assert "one class only" in comparison.void


def unassessed(rng):
    """Two large groups that lose nothing, and three that are too small."""
    label = rng.integers(0, 2, 8114)
    old = noisy(label, 0.1, rng)
    groups = ["large"] * 4000 + ["big"] * 4000 + ["few"] * 101 + ["five"] * 5 + ["eight"] * 8
    return rows(label, old, noisy(old, 0.001, rng), g=groups)


def test_groups_that_were_not_assessed_are_named_with_what_they_lack(rng):
    comparison = compared(unassessed(rng))
    assert comparison.verdict == "no_harm"
    assert comparison.headline.startswith(
        "With 95 % confidence, the error rate of no assessed group rises by more than 0.2 "
    )
    # The three have 114 rows together, too few for a pool.
    assert (
        "; not assessed, too few people: g = eight (8), g = few (101), g = five (5)." in comparison.headline
    )
    assert "ruled out for 98.6 % of the people" in comparison.headline


def test_an_outcome_that_decides_in_few_rows_is_not_called_too_few(rng):
    label = np.array([0, 1] * 40 + [0, 1] * 2000)
    new = label.copy()
    new[:80] = 1 - new[:80]
    comparison = compared(rows(label, label, new, g=["small"] * 80 + ["large"] * 4000))
    small = next(g for g in comparison.attributes[0].groups if g.values["g"] == "small")
    assert small.verdict == "harm"
    assert "ot assessed" not in comparison.headline
    assert comparison.attributes[0].worst_group == {"g": "small"}


GATED = [
    ("harm", {"harm"}),
    ("loss", {"harm", "loss"}),
    ("inconclusive", {"inconclusive"}),
]


def tables(rng):
    label = rng.integers(0, 2, 6000)
    old = noisy(label, 0.1, rng)
    g = rng.choice(["a", "b"], 6000)
    worse = {"harm": 0.1, "loss": 0.022, "no_harm": 0.0}
    return {
        name: rows(label, old, np.where((old == label) & (rng.random(6000) < lost), 1 - old, old), g=g)
        for name, lost in worse.items()
    } | {"inconclusive": balanced_flips()}


def balanced_flips():
    """Of 500 rows as many become right as become wrong, too many to rule out 2 points."""
    label = np.arange(500) % 2
    old, new = label.copy(), label.copy()
    old[:30] = 1 - old[:30]
    new[30:60] = 1 - new[30:60]
    return rows(label, old, new, g=["a"] * 500)


@pytest.mark.parametrize(("gate", "failing"), GATED)
def test_each_gate_fails_on_what_it_names_alone(rng, gate, failing):
    for verdict, table in tables(rng).items():
        report = audit(table, by=["g"], **PAIR)
        assert report.comparisons[0].verdict == verdict
        assert bool(report.failures(gate)) == (verdict in failing), verdict


@pytest.mark.parametrize("gate", ["harm", "loss", "inconclusive", "not-assessed"])
def test_a_void_comparison_fails_every_gate_and_no_gate_nothing(rng, gate):
    label, always = constant(rng, 0)
    report = audit(rows(label, always, always, g=rng.choice(["a", "b"], 4000)), by=["g"], **PAIR)
    assert "void" in report.failures(gate)[0]
    assert report.failures("") == []


def test_not_assessed_fails_where_any_group_lacks_rows_for_any_rate(rng):
    report = audit(unassessed(rng), by=["g"], **PAIR)
    assert report.failures("harm,loss,inconclusive") == []
    (reason,) = report.failures("not-assessed")
    assert "g = five" in reason
    assert "g = large" not in reason


def test_required_groups_must_be_assessed(rng):
    table = unassessed(rng).assign(h=["x", "y"] * 4057)
    report = audit(table, by=["g", "h", "g*h"], **PAIR)
    for passes in ("g=large", "g=large,big", "g=large,h=x", "g*h=large,x|big,y", "h*g=x,large", ""):
        assert report.failures("", passes) == [], passes
    for fails in ("g=few", "g=large,few", "h=x,g=five", "g*h=few,x", "h*g=x,five"):
        (reason,) = report.failures("", fails)
        assert "required and not assessed" in reason


def test_a_required_group_may_have_commas_and_equals_signs_in_its_name(rng):
    label = rng.integers(0, 2, 4000)
    table = rows(label, label, label, g=["Latino, of any race", "<=50K"] * 2000)
    report = audit(table, by=["g"], **PAIR)
    assert report.failures("", "g=Latino, of any race") == []
    assert report.failures("", ["g=Latino, of any race", "g=<=50K"]) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("harmm",), "Did you mean 'harm'"),
        (("not_estimable",), "Did you mean 'not-assessed'"),
        (("", "g=lrge"), "has no group 'lrge'. Did you mean 'large'"),
        (("", "h=x"), "'h' is not audited"),
        (("", "large"), "write attribute=group"),
        (("", "g*g2=x"), "is not audited"),
    ],
)
def test_unknown_words_and_groups_are_refused(rng, options, sentence):
    report = audit(unassessed(rng), by=["g"], **PAIR)
    with pytest.raises(UserError, match=sentence):
        report.failures(*options)


def test_a_gate_with_nothing_to_compare_is_refused(rng):
    report = audit(unassessed(rng), by=["g"], baseline="old", compressed=[])
    with pytest.raises(UserError, match="nothing to test"):
        report.failures("harm")


def gaps(table):
    report = audit(table, by=["g"], **PAIR)
    return {f.metric: f.estimate for f in report.fairness if f.model == "old"}, report


def without_positives(rng):
    """Of three groups one has no positives, and the FPR that is farthest from the others."""
    label = np.concatenate([rng.integers(0, 2, 2000), np.zeros(300, int)])
    g = np.array(["a", "b"] * 1000 + ["c"] * 300)
    error = np.where(g == "c", 0.4, 0.1)
    old = np.where(rng.random(2300) < error, 1 - label, label)
    return rows(label, old, old, g=g)


def test_equalized_odds_is_the_larger_gap_and_average_odds_the_mean_of_those_shown(rng):
    report, _ = gaps(without_positives(rng))
    tpr, fpr = (report[f"{m}_difference"].value for m in ("equal_opportunity", "predictive_equality"))
    assert fpr > tpr
    assert report["equalized_odds_difference"].value == fpr
    assert report["average_odds_difference"].value == pytest.approx((tpr + fpr) / 2)
    assert report["equalized_odds_difference"].n == 3
    for metric in ("equalized_odds_difference", "average_odds_difference", "pairwise_bias"):
        assert report[metric].low <= report[metric].value <= report[metric].high


def test_a_change_of_equalized_odds_is_that_of_the_two_values(rng):
    table = without_positives(rng)
    table["new"] = noisy(table.old.to_numpy(), 0.05, rng)
    _, report = gaps(table)
    value = {(f.model, f.metric): f.estimate.value for f in report.fairness}
    changes = report.comparisons[0].attributes[0].gap_changes
    for metric in (
        "equalized_odds_difference",
        "average_odds_difference",
        "pairwise_bias",
        "pairwise_bias_mean",
    ):
        assert changes[metric].value == pytest.approx(value["new", metric] - value["old", metric]), metric


def test_where_no_group_has_positives_but_one_equalized_odds_is_the_gap_that_is_known(rng):
    label = np.concatenate([rng.integers(0, 2, 1000), np.zeros(1000, int)])
    old = noisy(label, 0.2, rng)
    report, _ = gaps(rows(label, old, old, g=["a"] * 1000 + ["b"] * 1000))
    assert not report["equal_opportunity_difference"].estimable
    assert report["equalized_odds_difference"].value == report["predictive_equality_difference"].value
    assert not report["average_odds_difference"].estimable
    assert report["average_odds_difference"].reason == (
        "one of the rates this needs is known in fewer than 2 of 2 groups"
    )


def test_groups_of_a_row_or_two_do_not_dilute_the_tests_of_harm():
    lost, n = np.array([40.0, *np.ones(3000)]), np.array([900.0, *np.full(3000, 2.0)])
    tests = run_tests(bonett_price(lost, np.zeros(3001), n), lost / n, 0.02)
    judged = judge({("g", "accuracy"): tests})["g", "accuracy"]
    assert judged.verdict[0] == "harm"
    assert (judged.p_harm_adjusted[1:] == 1).all()
    assert judged.p_harm_adjusted[0] == pytest.approx(tests.p_harm[0])


@pytest.mark.parametrize(
    ("smallest", "reached"),
    [
        ([0.001, 0.2, 0.3], [True, False, False]),
        ([0.02, 0.02, 0.04], [True, True, False]),
        ([0.03, 0.03, 0.03], [False, False, False]),
        ([np.nan, 0.01], [False, True]),
        ([], []),
    ],
)
def test_tests_that_no_outcome_could_make_significant_do_not_count(smallest, reached):
    assert reachable(np.array(smallest), 0.05).tolist() == reached
