"""Claims: what they measure has a witness, false support stays rare, few seeds decide nothing, words follow numbers."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from fairpress.auditing.statistics.max_contrasts import MaxContrasts, Term, gap_of_contrasts, plausible_orders
from fairpress.auditing.statistics.two_way_contrasts import crossed_products
from fairpress.core.errors import UserError
from fairpress.reporting import claims as words
from fairpress.reporting.html import Section, render
from fairpress.store.local import Store
from fairpress.studies.analysis.claims.effect import (
    MeasuredEffect,
    effect_over_networks,
    measure_effect,
    seeds_needed,
)
from fairpress.studies.analysis.claims.layer_depth import depth_correlation, measure_layers
from fairpress.studies.analysis.claims.task import answer_claims
from fairpress.studies.analysis.claims.verdict import CLAIMS, claim_verdicts
from fairpress.studies.config.claims import LOSSES, Claim
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.load import bundled_studies, load
from fairpress.studies.planning.claim_tasks import claims_params, phase
from fairpress.studies.planning.claim_trials import ClaimTrials, resolve_claim
from fairpress.studies.planning.dataset_facts import DataFacts
from fairpress.studies.planning.plan import make_task, plan_study

ASK = {"positive": "yes", "people": False, "folds": 1, "confidence": 0.95}


def table(seeds=1, n=6000, groups=2, seed=0, **right):
    """Predictions on stacked seeds, sorted by seed and row; `right`: model → probability of a right answer by group."""
    rng = np.random.default_rng(seed)
    group = np.array(list("ABCDE"))[rng.integers(0, groups, n)]
    label = np.where(rng.random(n) < 0.5, "yes", "no")
    rows = {
        "row_id": np.tile([f"r{i:05d}" for i in range(n)], seeds),
        "seed": np.repeat(np.arange(seeds), n),
        "label": np.tile(label, seeds),
        "race": np.tile(group, seeds),
    }
    other = np.where(rows["label"] == "yes", "no", "yes")
    luck = np.tile(rng.random(n), seeds)  # shared, so that models agree on most rows
    for model, chance in right.items():
        p = np.array([chance[g] if isinstance(chance, dict) else chance for g in rows["race"]])
        own = np.where(rng.random(seeds * n) < 0.8, luck, rng.random(seeds * n))
        rows[model] = np.where(own < p, rows["label"], other)
    return pa.table(rows)


def measured(claim, tables, effect, lost=None, **more):
    found = ClaimTrials(effect, lost or {}, claim.by or "race")
    return measure_effect(claim, found, tables, **{**ASK, **more})


def change(quantity, **more):
    return Claim(says="x", of="recipe=small", quantity=quantity, **more)


@pytest.fixture(scope="module")
def one():
    return table(fp32={"A": 0.85, "B": 0.8}, small={"A": 0.82, "B": 0.68})


def rows_of(t):
    label, race = (np.array(t[k].to_pylist()) for k in ("label", "race"))
    said = {m: np.array(t[m].to_pylist()) for m in ("fp32", "small")}
    return label, race, said


def welch(a, b):
    """scipy's difference of two independent means, with its interval."""
    found = stats.ttest_ind(a, b, equal_var=False)
    low, high = found.confidence_interval(0.95)
    return a.mean() - b.mean(), low, high, found.pvalue


def expected(quantity, label, race, said):
    """Return value, low, high, p of small − fp32 by scipy, for two groups away from ties."""
    right = {m: (s == label).astype(float) for m, s in said.items()}
    yes = {m: (s == "yes").astype(float) for m, s in said.items()}
    a, positive = race == "A", label == "yes"

    def gap_change(values, where):
        """|x_A − x_B| of small minus of fp32, by the sign each has."""
        sign = {m: np.sign(v[where & a].mean() - v[where & ~a].mean()) for m, v in values.items()}
        d = sign["small"] * values["small"] - sign["fp32"] * values["fp32"]
        return welch(d[where & a], d[where & ~a])

    everywhere = np.ones(len(label), bool)
    lost = right["fp32"] - right["small"]
    match quantity:
        case "accuracy":
            found = stats.ttest_1samp(-lost, 0)
            return (-lost.mean(), *found.confidence_interval(0.95), found.pvalue)
        case "loss":
            found = stats.ttest_1samp(lost, 0)
            return (lost.mean(), *found.confidence_interval(0.95), found.pvalue)
        case "flips":
            changed = (said["small"] != said["fp32"]).astype(float)
            found = stats.ttest_1samp(changed, 0)
            return (changed.mean(), *found.confidence_interval(0.95), found.pvalue)
        case "worst_group_flips":
            changed = (said["small"] != said["fp32"])[~a].astype(float)
            found = stats.ttest_1samp(changed, 0)
            return (changed.mean(), *found.confidence_interval(0.95), found.pvalue)
        case "flips_gap":
            changed = (said["small"] != said["fp32"]).astype(float)
            return welch(changed[~a], changed[a])
        case "lost_answers":
            gone = ((right["fp32"] == 1) & (right["small"] == 0)).astype(float)
            found = stats.ttest_1samp(gone, 0)
            return (gone.mean(), *found.confidence_interval(0.95), found.pvalue)
        case "worst_group_loss":
            worst = lost[~a]
            found = stats.ttest_1samp(worst, 0)
            return (worst.mean(), *found.confidence_interval(0.95), found.pvalue)
        case "worst_group_accuracy":
            found = stats.ttest_1samp(-lost[~a], 0)
            return (-lost[~a].mean(), *found.confidence_interval(0.95), found.pvalue)
        case "loss_gap":
            return welch(lost[~a], lost[a])
        case "accuracy_gap":
            return gap_change(right, everywhere)
        case "demographic_parity_difference":
            return gap_change(yes, everywhere)
        case "equal_opportunity_difference":
            return gap_change(yes, positive)
        case "predictive_equality_difference":
            return gap_change(yes, ~positive)
    tpr, fpr = gap_change(right, positive), gap_change(right, ~positive)
    half = [(x[2] - x[1]) / 2 for x in (tpr, fpr)]
    if quantity == "pairwise_bias":
        value, width = tpr[0] + fpr[0], np.hypot(*half)
    elif quantity == "average_odds_difference":
        value, width = (tpr[0] + fpr[0]) / 2, np.hypot(*half) / 2
    else:  # equalized odds: the larger of the two gaps of either model
        value, width = np.nan, max(half)
    return value, value - width, value + width, None


PAIRED = [
    "accuracy",
    "loss",
    "flips",
    "worst_group_flips",
    "flips_gap",
    "lost_answers",
    "worst_group_loss",
    "worst_group_accuracy",
    "loss_gap",
    "accuracy_gap",
    "equal_opportunity_difference",
    "predictive_equality_difference",
    "average_odds_difference",
    "pairwise_bias",
]


@pytest.mark.parametrize("quantity", PAIRED)
def test_an_effect_and_its_interval_are_those_of_scipy_away_from_ties(one, quantity):
    label, race, said = rows_of(one)
    value, low, high, p = expected(quantity, label, race, said)
    effect = {("", "small"): 1.0}
    if quantity not in LOSSES:
        effect[("", "fp32")] = -1.0
    found = measured(change(quantity), {"": one}, effect).effect
    assert found.value == pytest.approx(value, abs=1e-9)
    # Pseudo-rows, and the tenth of α that is spent on the order, make it a little wider.
    width = found.high - found.low
    assert 0.999 * (high - low) < width < 1.12 * (high - low)
    assert abs((found.high + found.low) - (high + low)) / 2 < 0.1 * (high - low)
    if p is not None:
        theta = _theta(change(quantity), one, effect)
        assert theta.p_two_sided() == pytest.approx(max(p, 1e-8), rel=0.6, abs=1e-7)


def _theta(claim, t, effect):
    from fairpress.studies.analysis.claims.arrays import ClaimArrays

    sums, terms, _ = ClaimArrays(claim, ClaimTrials(effect, {}, "race"), {"": t}, "yes").terms(False)
    return MaxContrasts(sums, terms)


def test_gaps_of_equal_selection_and_equalized_odds_are_what_they_are_by_definition(one):
    label, race, said = rows_of(one)
    yes = {m: s == "yes" for m, s in said.items()}

    def spread(m, where):
        rates = [yes[m][where & (race == g)].mean() for g in "AB"]
        return abs(rates[0] - rates[1])

    effect = {("", "small"): 1.0, ("", "fp32"): -1.0}
    for quantity, of in (
        ("demographic_parity_difference", lambda m: spread(m, label != "")),
        ("equalized_odds_difference", lambda m: max(spread(m, label == "yes"), spread(m, label == "no"))),
    ):
        found = measured(change(quantity), {"": one}, effect).effect
        assert found.value == pytest.approx(of("small") - of("fp32"), abs=1e-12)
        assert found.low < found.value < found.high


def test_a_group_is_held_against_the_rest_and_against_another_so_many_times(one):
    label, race, said = rows_of(one)
    lost = (said["fp32"] == label).astype(float) - (said["small"] == label)
    a, b = lost[race == "A"], lost[race == "B"]
    more = measured(change("loss", group="B", against_group="rest"), {"": one}, {("", "small"): 1.0})
    value, low, high, _ = welch(b, a)
    assert more.effect.value == pytest.approx(value)
    assert more.effect.low == pytest.approx(low, abs=0.002)
    assert more.effect.high == pytest.approx(high, abs=0.002)
    times = measured(change("loss", group="B", against_group="A", times=2.7), {"": one}, {("", "small"): 1.0})
    assert times.effect.value == pytest.approx(b.mean() - 2.7 * a.mean())
    smallest = measured(change("loss", group="smallest"), {"": one}, {("", "small"): 1.0})
    assert smallest.groups == (min("AB", key=lambda g: (race == g).sum()),)


def test_an_interval_stays_within_what_rates_can_be():
    rng = np.random.default_rng(0)
    cell = rng.integers(0, 2, 30)
    noisy = rng.random((2, 2, 30)) < rng.random((2, 2, 1))
    sums = crossed_products(noisy.astype(float), cell, 2)
    unit = np.zeros((2, 2, 2, 2))
    for m in (0, 1):
        unit[m, np.arange(2), np.arange(2), m] = 1
    change_ = MaxContrasts(
        sums, [Term(1.0, gap_of_contrasts(unit[1])), Term(-1.0, gap_of_contrasts(unit[0]))]
    )
    low, high = change_.interval(0.95)
    assert (low, high) == (-1.0, 1.0)
    alone = MaxContrasts(sums, [Term(1.0, gap_of_contrasts(unit[1]))]).interval(0.95)
    assert alone[0] >= 0
    assert alone[1] <= 1


def test_the_test_over_networks_is_scipys_permutation_of_signs():
    values = np.random.default_rng(3).normal(0.4, 1, 9)
    p, smallest, size = effect_over_networks(values, 0.1, 9, 0.95)
    witness = stats.permutation_test(
        (values - 0.1,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert p == pytest.approx(witness.pvalue)
    assert smallest == 2 / 2**9
    t = stats.ttest_1samp(values, 0.1).statistic
    assert size.value == pytest.approx(t / 3 * (1 - 3 / (4 * 8 - 1)), rel=0.01)  # Hedges' usual approximation
    assert effect_over_networks(values[:1], 0.0, 1, 0.95)[0] is None


def test_sensitivity_goes_with_depth_as_spearman_says():
    rng = np.random.default_rng(0)
    harm = rng.random(12)
    layers = {f"l{i}": {"2": h, "4": h / 2, "bits": 4, "depth": i + 1} for i, h in enumerate(harm)}
    by_name = dict(sorted(layers.items()))  # as cards have them: l10 before l2
    assert depth_correlation(by_name) == pytest.approx(stats.spearmanr(range(12), harm).statistic)
    assert depth_correlation({"a": {"2": 1.0, "depth": 1}, "b": {"2": 2.0, "depth": 2}}) is None
    facts = [
        {
            "recipe": "mixed",
            "seed": s,
            "fold": 0,
            "provenance": {
                "details": {
                    "sensitivity": {f"l{i}": {"2": i + rng.normal(0, 3), "depth": i + 1} for i in range(9)}
                }
            },
        }
        for s in range(8)
    ]
    found = measure_layers(ClaimTrials({("", "mixed"): 1.0}, {}, "race"), {"": facts}, 0.0, 0.95)
    values = [
        stats.spearmanr(
            range(9), [r["2"] for r in f["provenance"]["details"]["sensitivity"].values()]
        ).statistic
        for f in facts
    ]
    witness = stats.ttest_1samp(values, 0)
    assert found.effect.value == pytest.approx(np.mean(values))
    assert (found.effect.low, found.effect.high) == pytest.approx(tuple(witness.confidence_interval(0.95)))
    assert found.p == pytest.approx(witness.pvalue)
    assert (found.test, found.smallest_p) == ("seeds", 0.0)
    few = measure_layers(ClaimTrials({("", "mixed"): 1.0}, {}, "race"), {"": facts[:7]}, 0.0, 0.95)
    assert few.p == pytest.approx(max(stats.ttest_1samp(values[:7], 0).pvalue, 2 / 2**7))
    assert (few.test, few.smallest_p) == ("sign flips", 2 / 2**7)
    none = measure_layers(ClaimTrials({("", "int8"): 1.0}, {}, "race"), {"": facts}, 0.0, 0.95)
    assert none.effect.value is None


@pytest.mark.parametrize("kind", ["gap", "bias", "worst"])
def test_false_support_is_rare_where_groups_are_equal_and_nothing_changed(kind):
    rng = np.random.default_rng(1)
    seeds, n, k, alpha, false = 4, 900, 4, 0.05, 0
    runs = 150
    for _ in range(runs):
        cell = rng.integers(0, k, n)
        noise = 0.08 * rng.normal(size=(2, seeds, 1))  # every training is another
        luck = rng.random((1, 1, n))
        own = np.where(rng.random((2, seeds, n)) < 0.7, luck, rng.random((2, seeds, n)))
        sums = crossed_products((own < 0.7 + noise).astype(float), cell, k)
        unit = np.zeros((2, k, k, 2))
        for m in (0, 1):
            unit[m, np.arange(k), np.arange(k), m] = 1
        make_ = {"gap": gap_of_contrasts, "bias": plausible_orders, "worst": lambda x: x}[kind]
        theta = MaxContrasts(sums, [Term(1.0, make_(unit[1])), Term(-1.0, make_(unit[0]))])
        low, high = theta.interval(1 - alpha)
        p = theta.p_two_sided()
        assert (p < alpha) == (low > 0 or high < 0) or abs(p - alpha) < 0.005
        false += p < alpha
    assert false <= alpha * runs + 3 * np.sqrt(alpha * (1 - alpha) * runs)


def test_a_claim_with_one_seed_is_undecidable_and_says_how_many_it_takes(one):
    claims = {"a": change("accuracy", expect="less"), "b": change("accuracy", than=0.5)}
    effect = {("", "small"): 1.0, ("", "fp32"): -1.0}
    found = claim_verdicts(
        claims, {n: ("race", measured(c, {"": one}, effect)) for n, c in claims.items()}, 0.95
    )
    assert [a.answer for a in found] == ["undecidable"] * 2
    # 2/2^S must be at most 0.05/2
    assert found[0].why == "undecidable with 1 seed; it takes at least 7"
    assert found[0].effect["low"] is not None  # what this one network shows is told all the same
    assert seeds_needed(1, 0.05) == 6
    assert seeds_needed(6, 0.05 / 15) == 2


def test_many_seeds_decide_both_ways_and_a_paired_architecture_counts_as_networks():
    right = {"fp32": 0.85, "small": {"A": 0.85, "B": 0.70}}
    tables = {"m": table(8, 2000, **right), "n": table(8, 2000, **right)}
    effect = {(p, m): w for p in "mn" for m, w in (("small", 0.5), ("fp32", -0.5))}
    claims = {
        "true": change("accuracy", expect="less"),
        "false": change("accuracy"),
        "wider": change("accuracy_gap", than=0.05),
        "differs": change("accuracy_gap", expect="differs"),
        "unclear": change("accuracy", than=-0.075),
    }
    found = claim_verdicts(
        claims, {n: ("race", measured(c, tables, effect)) for n, c in claims.items()}, 0.95
    )
    assert {a.name: a.answer for a in found} == {
        "true": "supported",
        "false": "contradicted",
        "wider": "supported",
        "differs": "supported",
        "unclear": "undecided",
    }
    assert (found[0].seeds, found[0].networks, found[0].rows) == (8, 32, 2000)
    assert found[0].size["n"] == 16
    assert all(a.p_adjusted >= a.p for a in found)


@pytest.mark.parametrize(
    "asked",
    [
        {"of": ["model=big", "recipe=int8"], "against": ["model=small", "recipe=int8"]},
        {"of": "recipe=int8", "along": {"model": ["small", "middle", "big"]}},
    ],
)
def test_models_whose_change_is_compared_are_one_unit_a_seed(asked):
    config, layout = study(**asked, quantity="accuracy_gap", change=True)
    claim, tables = config.claims["c"], {}
    for part, loss in (("big", 0.25), ("middle", 0.15), ("small", 0.05)):
        tables[part] = table(5, 4000, fp32=0.9, int8={"A": 0.9, "B": 0.9 - loss})
    found = resolve_claim(claim, config, layout)
    told = measured(claim, {p: tables[p] for p in found.needed()}, found.effect)
    assert (told.per_seed, told.smallest_p) == (1, 2 / 2**5)
    assert told.size.n == 5
    assert told.effect.low > 0
    assert told.p == 2 / 2**5  # both gaps rise, one more than the other, under all seeds


def test_a_group_that_is_not_there_is_said(one):
    effect = {("", "small"): 1.0, ("", "fp32"): -1.0}
    for claim in (
        change("accuracy_gap", groups=("A", "B", "Cc")),
        change("loss", group="smallest", groups=("A", "Cc")),
    ):
        found = measured(claim, {"": one}, effect)
        assert found.effect.value is None
        assert found.effect.reason == "the data have no group 'Cc'; their groups are A, B"


def test_what_is_won_back_is_a_share_of_what_was_lost():
    t = table(8, 4000, fp32=0.9, int4={"A": 0.9, "B": 0.7}, fair={"A": 0.9, "B": 0.85})
    claim = change("accuracy_gap", against="recipe=int4", recovers=0.5)
    won = {("", "int4"): 1.0, ("", "fair"): -1.0}
    lost = {("", "int4"): 1.0, ("", "fp32"): -1.0}
    found = measured(claim, {"": t}, won, lost)
    assert found.effect.value == pytest.approx(0.75, abs=0.12)
    assert 0.5 < found.effect.low < found.effect.value < found.effect.high
    assert claim_verdicts({"c": claim}, {"c": ("race", found)}, 0.95)[0].answer == "supported"
    too_much = change("accuracy_gap", against="recipe=int4", recovers=0.99)
    assert (
        claim_verdicts({"c": too_much}, {"c": ("race", measured(too_much, {"": t}, won, lost))}, 0.95)[
            0
        ].answer
        == "contradicted"
    )
    same = measured(claim, {"": table(8, 2000, fp32=0.9, int4=0.9, fair=0.9)}, won, lost)
    assert "no loss is demonstrated" in same.effect.reason


def test_claims_that_are_not_answered_count_in_the_correction():
    t = table(8, 2000, fp32=0.85, small=0.80)
    claim = change("accuracy", expect="less")
    told = "race", measured(claim, {"": t}, {("", "small"): 1.0, ("", "fp32"): -1.0})
    alone = claim_verdicts({"a": claim}, {"a": told}, 0.95)[0]
    beside = claim_verdicts({"a": claim, "b": claim}, {"a": told, "b": ("race", "int9 is left out")}, 0.95)
    assert beside[0].p_adjusted == pytest.approx(2 * alone.p_adjusted)
    assert beside[1].answer == "not answered"
    assert beside[1].why == "int9 is left out"


STUDY = {
    "dataset": "compas",
    "models": {"big": "mlp", "middle": "mlp", "small": "mlp"},
    "recipes": ["int8", "qat-int8", "prune-50", "prune-80", "prune-90"],
    "seeds": 3,
    "audit": {"by": ["race", "sex"]},
}


def study(**claim):
    config = StudyConfig.model_validate(
        {**STUDY, "claims": {"c": {"says": "x", "quantity": "accuracy", **claim}}}
    )
    return config, plan_study(config, lambda d, f: "")


def resolved(**claim):
    config, layout = study(**claim)
    return resolve_claim(config.claims["c"], config, layout)


def test_two_sets_of_trials_are_their_means_and_find_their_partners():
    found = resolved(of="recipe=int8", against=["recipe=qat-int8", "model=big"])
    assert found.effect == {
        **{(m, "int8"): pytest.approx(1 / 3) for m in ("big", "middle", "small")},
        ("big", "qat-int8"): -1.0,
    }
    assert resolved(of=["model=big", "recipe=qat-int8"], against="placebo").effect == {
        ("big", "qat-int8"): 1.0,
        ("big", "placebo"): -1.0,
    }
    assert resolved(of=["model=big", "recipe=int8"]).effect == {("big", "int8"): 1.0, ("big", "fp32"): -1.0}
    changed = resolved(
        of=["model=big", "recipe=int8"], against=["model=small", "recipe=int8"], change=True
    ).effect
    assert changed == {("big", "int8"): 1, ("big", "fp32"): -1, ("small", "int8"): -1, ("small", "fp32"): 1}
    assert resolved(of="model=big", quantity="loss").reason
    assert resolved(of="recipe=int8", against="placebo").reason == "the study has no placebo of int8"


def test_a_slope_is_that_of_least_squares():
    found = resolved(of="model=big", along={"recipe": ["prune-50", "prune-80", "prune-90"]})
    assert found.effect == {("big", "prune-50"): -0.5, ("big", "prune-90"): 0.5}
    values = np.random.default_rng(0).random(3)
    slope = resolved(of="recipe=int8", along={"model": ["big", "middle", "small"]}).effect
    told = sum(
        w * dict(zip(("big", "middle", "small"), values, strict=True))[p] for (p, _), w in slope.items()
    )
    assert told == pytest.approx(stats.linregress(range(3), values).slope)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"of": "recipe=int9"}, "the study has no recipe 'int9'. Did you mean 'int8'?"),
        ({"of": "recip=int8"}, "unknown key 'recip'. Did you mean 'recipe'?"),
        (
            {"of": "recipe=int8,seed=1"},
            "a claim can filter by dataset, model, recipe, not by seed; remove that filter.",
        ),
        ({"of": "recipe=int8", "by": "rase"}, "the audit has no attribute 'rase'. Did you mean 'race'?"),
        ({"along": {"model": "[big, middle, smal]"}}, "the study has no model 'smal'. Did you mean 'small'?"),
        ({"of": "recipe=int8", "against": "plain"}, "the study has no plain of int8."),
    ],
)
def test_what_a_claim_names_wrongly_is_said_with_its_line(claim, said, tmp_path):
    lines = "".join(f"    {k}: {json.dumps(v).replace(chr(34), '')}\n" for k, v in claim.items())
    text = json.dumps({k: v for k, v in STUDY.items() if k != "audit"})[1:-1].replace('], "', '],\n"')
    text = "\n".join(json.dumps({k: v})[1:-1] for k, v in STUDY.items())
    (tmp_path / "s.yaml").write_text(f"{text}\nclaims:\n  c:\n    says: x\n    quantity: accuracy\n{lines}")
    with pytest.raises(UserError) as error:
        load(str(tmp_path / "s.yaml"))
    assert str(error.value) == f"{tmp_path / 's.yaml'}:7:3: claim 'c': {said}"


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"quantity": "accuracy"}, "the claim names no trials; add `of`"),
        ({"of": "recipe=int8", "groups": ["A", "B"]}, "accuracy is over all rows; remove `groups`"),
        ({"of": "recipe=int8", "quantity": "flips", "groups": ["A", "B"]}, "flips is over all rows"),
        ({"of": "recipe=int8", "quantity": "loss", "groups": ["A", "B"]}, "loss is over all rows"),
        (
            {"of": "recipe=int8", "quantity": "loss", "group": "A", "groups": ["A", "B"]},
            "needs `group: smallest`",
        ),
        ({"of": "recipe=int8", "group": "A"}, "`group` applies only to the quantity `loss`"),
        ({"of": "recipe=int8", "quantity": "loss", "change": True}, "remove `change`"),
        ({"of": "recipe=int8", "recovers": 0.5}, "`recovers` needs `against`"),
        ({"along": {"recipe": ["int8", "int4"]}}, "three or more"),
        *(
            ({"of": "recipe=int8", "quantity": q, "metric": "fpr"}, "`metric` applies only to")
            for q in ("accuracy", "flips", "lost_answers", "demographic_parity_difference", "pairwise_bias")
        ),
        *(
            ({"quantity": "sensitivity_depth", **more}, "remove `against` and `along`")
            for more in (
                {"of": "recipe=mixed", "against": "recipe=int8"},
                {"of": "recipe=mixed", "against": "placebo"},
                {"along": {"recipe": ["mixed", "int8", "int4"]}},
            )
        ),
        (
            {"of": "recipe=int8", "quantity": "loss", "group": "A", "times": 2.7},
            "`times` needs `against_group`",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(claim, said):
    with pytest.raises(ValueError, match=said):
        Claim.model_validate({"says": "x", "quantity": "accuracy", **claim})


def test_what_the_command_line_takes_away_is_no_mistake_in_the_file():
    config = load("compas", ["recipes=[int8]"])[1]
    layout = plan_study(config, lambda d, f: "")
    facts = {"compas": DataFacts("compas", "", "yes", {}, False, [], [])}
    params, inputs = claims_params(config, layout, facts, lambda p, m: (0,), lambda p, s: None)
    assert "no recipe 'prune-80'" in params["claims"]["pruning-raises-bias-by-race"]["reason"]
    assert inputs == []


def test_claims_change_no_key_of_what_is_trained_compressed_and_predicted():
    config, layout = study(of="recipe=int8")
    bare = plan_study(config.model_copy(update={"claims": {}}), lambda d, f: "")
    assert [t.key for t in layout.tasks] == [t.key for t in bare.tasks]


def test_every_bundled_study_resolves_all_of_its_claims_and_phases():
    told = 0
    for name in bundled_studies():
        for data in (None, "celeba"):
            config = load(name)[1]
            if data is not None and data not in config.choices:
                continue
            config = load(name, data=data)[1]
            layout = plan_study(config, lambda d, f: "")
            found = [resolve_claim(c, config, layout) for c in config.claims.values()]
            assert not [f.reason for f in found if f.reason]
            told += len(found)
            for part in config.phases:
                assert phase(config, part) is not None
    assert told > 30
    config = load("beyond-naive")[1]
    assert len(config.models) * (1 + len(config.recipes)) >= 60
    assert phase(config, "all") == ()
    with pytest.raises(UserError, match="Did you mean 'mitigation'"):
        phase(config, "mitigate")
    assert load("quantization-poster", data="celeba")[1].mitigations["ceo"].by == "sex"


def test_the_task_answers_from_the_store_and_the_page_and_the_terminal_say_the_same(tmp_path):
    config, layout = study(of=["model=big", "recipe=int8"], expect="less", source="Somebody <b>", by="race")
    t = table(8, 1500, fp32=0.85, int8=0.80)
    store = Store(tmp_path)
    join = make_task("join", "predictions", {})
    sink = BytesIO()
    pq.write_table(t, sink)
    store.put(join.key, {"predictions.parquet": sink.getvalue(), "models.json": b"[]"}, {"kind": "join"})
    facts = {"compas": DataFacts("compas", "", "yes", {"race": ["A", "B"], "sex": []}, False, [], [])}
    params, inputs = claims_params(
        config, layout, facts, lambda part, model: tuple(range(8)), lambda part, seeds: join
    )
    assert inputs == [join.key]
    (told,) = json.loads(answer_claims(store, make_task("claims", "claims", params, inputs))[CLAIMS])
    assert (told["answer"], told["networks"], told["by"]) == ("supported", 16, "race")
    assert words.word(told) == "✔ supported"
    assert words.expected(told) == "below 0"
    assert words.compared(told) == "big, int8 − the baseline"
    table_, said = words.lines([told])
    assert table_.row_count == 1
    assert said.startswith("Of 1 claim: 1 supported.")
    from fairpress.auditing.audit import audit

    done = audit(t, baseline="fp32", compressed=["int8"], by=["race"], positive="yes", seed_column="seed")
    page = render([Section("s", done)], title="t", claims=[told])
    assert words.effect(told) in page
    assert "Somebody &lt;b&gt;" in page
    none, _ = claims_params(config, layout, facts, lambda part, model: (), lambda part, seeds: join)
    assert none["claims"]["c"]["reason"] == "no seed has all of its networks"


def test_words_of_a_claim_that_is_not_answered():
    told = claim_verdicts({"c": change("accuracy")}, {"c": ("race", "int8 is left out")}, 0.95)[0].to_dict()
    assert words.word(told) == "– not answered: int8 is left out"
    assert words.effect(told) == "–"
    assert words.ground(told) == "–"
    assert isinstance(told["effect"], dict)
    assert MeasuredEffect  # its fields are what an answer is made of
