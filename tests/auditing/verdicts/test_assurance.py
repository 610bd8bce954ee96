"""Assurance: against Monte-Carlo draws and the verdicts themselves; calibration; advice over seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fairpress.auditing.cells.counting import count
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.statistics.exchangeable_losses import prior_from_others
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.t_estimate import t_quantile
from fairpress.auditing.statistics.two_way import crossed_change, crossed_sums
from fairpress.auditing.verdicts.assurance import (
    CAP,
    GRID,
    RowAssurance,
    VerdictRule,
    assurance,
    decide_with,
    effective_counts,
    rows_for_assurance,
)
from fairpress.auditing.verdicts.assurance_wording import rows_sentence
from fairpress.auditing.verdicts.eligibility import min_rows_for
from fairpress.auditing.verdicts.rules import judge, run_tests
from fairpress.auditing.verdicts.seed_assurance import (
    RowsOrSeeds,
    SeedVerdictRule,
    _critical,
    decide_with_seeds,
)
from fairpress.core.attribute import Attribute

MARGIN = 0.02
LEVEL = 0.05 / 42
RULE = VerdictRule(MARGIN, 0.95, LEVEL, LEVEL)


def test_the_rule_gives_the_verdicts_of_an_audit():
    rng = np.random.default_rng(0)
    n = rng.integers(50, 4000, 3000).astype(float)
    lost, gained = rng.binomial(n.astype(int), rng.uniform(0, 0.1, 3000)), rng.binomial(n.astype(int), 0.02)
    enough = n >= min_rows_for(MARGIN, 0.95)
    tests = {
        ("g", "accuracy"): run_tests(bonett_price(lost, gained, n), (lost + gained) / n, MARGIN, 0.95, enough)
    }
    # Bonferroni's correction has fixed levels, which Holm's first step shares.
    verdict = judge(tests, 0.95, lambda p: np.minimum(1, np.asarray(p) * 42))["g", "accuracy"].verdict
    no_harm, loss = RULE(lost[:, None].astype(float), gained[:, None].astype(float), n[:, None])
    assert (no_harm[:, 0] == (verdict == "no_harm")).all()
    assert (loss[:, 0] == np.isin(verdict, ("loss", "harm"))).all()
    assert len(set(verdict)) == 5


@pytest.mark.parametrize(
    ("lost", "gained", "n", "more"),
    [(0, 0, 100, 300), (3, 4, 300, 200), (3, 4, 300, 1000), (8, 2, 300, 1000), (20, 20, 800, 3000)],
)
def test_the_lattice_agrees_with_draws_from_the_posterior(lost, gained, n, more):
    rng = np.random.default_rng(1)
    p = rng.dirichlet((lost + 0.5, gained + 0.5, n - lost - gained + 1), 20_000)
    b = rng.binomial(more, p[:, 0])
    c = rng.binomial(more - b, p[:, 1] / (1 - p[:, 0]))
    no_harm, loss = RULE(
        (lost + b)[:, None] * 1.0, (gained + c)[:, None] * 1.0, np.full((20_000, 1), n + more)
    )
    chances = assurance(lost, gained, n, more, RULE)
    assert chances.no_harm[0] == pytest.approx(no_harm.mean(), abs=0.025)
    assert chances.loss[0] == pytest.approx(loss.mean(), abs=0.025)


def test_the_rows_are_the_fewest_of_the_grid_that_reach_the_chance():
    lost, gained, n = np.array([4, 10, 6]), np.array([3, 4, 5]), np.array([250, 400, 200])
    rows, chances = rows_for_assurance(lost, gained, n, RULE)
    assert (chances.decided >= 0.8).all()
    fewer = GRID[np.searchsorted(GRID, rows) - 1]
    assert (assurance(lost, gained, n, fewer, RULE).decided < 0.8).all()
    assert (rows_for_assurance(lost, gained, n, RULE, 0.95)[0] > rows).all()


def test_positives_are_gathered_with_all_rows():
    rows, _ = rows_for_assurance([4], [3], [250], RULE)
    tenth, _ = rows_for_assurance([4], [3], [250], RULE, per_row=0.1)
    assert 8 <= tenth[0] / rows[0] <= 12.5


def test_a_loss_at_the_margin_is_beyond_the_cap():
    only_harm = VerdictRule(MARGIN, 0.95, 1e-200, LEVEL)
    (answer,) = decide_with([420], [20], [20_000], only_harm, scale=MARGIN)
    assert answer is not None
    assert answer.more_rows is None
    assert f"{CAP:,} more rows of race = Asian decide with no more than" in rows_sentence(
        "race = Asian", answer
    )


def test_only_undecided_groups_get_an_answer_which_other_groups_inform():
    lost, gained, n = np.array([3, 30, 2]), np.array([2, 28, 1]), np.array([150, 3000, 120])
    answers = decide_with(lost, gained, n, RULE, scale=MARGIN, undecided=[True, False, True])
    assert [a is None for a in answers] == [False, True, False]
    alone = decide_with(lost[:1], gained[:1], n[:1], RULE, scale=MARGIN)[0]
    assert alone is not None
    assert answers[0] is not None
    assert answers[0].loss < alone.loss  # the others lose nothing
    again = decide_with(lost, gained, n, RULE, scale=MARGIN, undecided=[True, False, True])
    assert again == answers


def test_the_sentence_has_the_rows_and_the_chances():
    text = rows_sentence("race = Asian", RowAssurance(1500, 0.8, 0.56, 0.24))
    assert (
        text == "1,500 more rows of race = Asian decide with 80 % chance (56 % no harm, 24 % loss or harm)."
    )
    text = rows_sentence("race = Asian", RowsOrSeeds(None, 3, None, 0.8, 0.56, 0.24))
    assert text.startswith("3 more seeds on the same rows decide with 80 % chance")
    assert "nor 50 more seeds" in rows_sentence("everybody", RowsOrSeeds(None, None, None, 0.8, 0.2, 0.1))


def test_counts_of_an_estimate_are_divided_by_the_design_effect():
    x = bonett_price([6.0], [2.0], [400.0], deff=2.0)
    lost, gained, n = effective_counts(x, np.array([8 / 400]))
    assert (lost[0], gained[0], n[0]) == pytest.approx((3, 1, 200))


def test_a_group_says_nothing_about_its_prior():
    value, se = np.array([0.01, 0.0, 0.02, -0.01]), np.array([0.01, 0.005, 0.02, np.nan])
    grid = np.linspace(-0.1, 0.1, 41)[None].repeat(4, axis=0)
    before = prior_from_others(value, se, MARGIN).density(grid)
    value[0] = 0.5
    after = prior_from_others(value, se, MARGIN).density(grid)
    assert after[0] == pytest.approx(before[0])
    assert not np.allclose(after[1], before[1])


def test_the_prior_agrees_with_numerical_integration():
    """p(ℓ | y) ∝ ∫∫ N(ℓ; μ, τ²) N(y; μ, τ² + s²) N(μ; 0, δ²) HN(τ; δ) dμ dτ, for one other group."""
    y, s = 0.012, 0.006
    mu, tau = np.meshgrid(np.linspace(-0.08, 0.08, 401), np.linspace(5e-4, 0.08, 400))
    joint = (
        stats.norm.pdf(y, mu, np.hypot(tau, s))
        * stats.norm.pdf(mu, 0, MARGIN)
        * stats.halfnorm.pdf(tau, 0, MARGIN)
    )
    prior = prior_from_others([0.0, y], [0.01, s], MARGIN)
    points = np.array([-0.02, 0.0, 0.012, 0.03])
    expected = np.array([(joint * stats.norm.pdf(p, mu, tau)).sum() for p in points]) / joint.sum()
    density = prior.density(np.stack([points, points]))[0]
    assert density == pytest.approx(expected, rel=0.15)  # a grid of eight τ


def test_predicted_chances_come_true():
    """Undecided groups of 150 simulated audits of fourteen groups, true losses 0 to 1.5δ; all of them: 3,700."""
    rng = np.random.default_rng(3)
    predicted, decided = [], []
    for _ in range(150):
        loss = rng.choice([0, 0.25, 0.5, 0.75, 1, 1.5], 14) * MARGIN
        up = rng.choice([0.0025, 0.005, 0.01, 0.02, 0.04], 14)
        shares = np.stack([up + loss, up, 1 - loss - 2 * up], axis=-1)
        n = rng.choice([80, 150, 250, 400, 800, 1500, 3000], 14)
        more = np.round(n * np.exp(rng.uniform(np.log(0.3), np.log(20), 14))).astype(int)
        first, second = rng.multinomial(n, shares), rng.multinomial(more, shares)
        x = bonett_price(first[:, 0], first[:, 1], n)
        chances = assurance(first[:, 0], first[:, 1], n, more, RULE, prior_from_others(x.value, x.se, MARGIN))
        open_ = ~np.logical_or(*RULE(*(v[:, None] * 1.0 for v in (first[:, 0], first[:, 1], n))))[:, 0]
        both = first + second
        later = np.logical_or(*RULE(*(v[:, None] * 1.0 for v in (both[:, 0], both[:, 1], n + more))))[:, 0]
        predicted.append(chances.decided[open_])
        decided.append(later[open_])
    p, d = np.concatenate(predicted), np.concatenate(decided)
    assert p.mean() == pytest.approx(d.mean(), abs=0.04)
    for low, high in ((0.0, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.0)):
        inside = (p >= low) & (p < high)
        error = 3 * np.sqrt(0.25 / inside.sum())
        assert p[inside].mean() == pytest.approx(d[inside].mean(), abs=0.05 + error)


def runs(seeds: int, seed_sd: float, rows: int = 500) -> np.ndarray:
    rng = np.random.default_rng(4)
    easy = 2 * rng.standard_normal(rows)
    p = [stats.norm.cdf(-3.5 + easy + seed_sd * rng.standard_normal((seeds, 1))) for _ in range(2)]
    return (rng.random((seeds, rows)) < p[1]).astype(float) - (rng.random((seeds, rows)) < p[0])


def test_seeds_that_agree_need_rows_and_seeds_that_disagree_need_seeds():
    rule = SeedVerdictRule(MARGIN, 0.95, LEVEL, LEVEL)
    index = np.zeros(500, int)
    (agree,) = decide_with_seeds(crossed_sums(runs(10, 0.0), index, 1), rule)
    (differ,) = decide_with_seeds(crossed_sums(runs(4, 0.5), index, 1), rule)
    assert agree is not None
    assert differ is not None
    assert agree.more_rows is not None
    assert differ.more_rows is None
    assert differ.more_seeds is not None or differ.both is not None
    decided = decide_with_seeds(crossed_sums(runs(10, 0.0), index, 1), rule, undecided=np.array([False]))
    assert decided == [None]


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [(4, {"inconclusive", "not_estimable"}), (8, {"inconclusive", "not_estimable", "no_harm", "loss"})],
)
def test_the_seed_rule_gives_the_verdicts_of_an_audit(seeds, expected):
    """Four seeds, which hardly bound their own variation, decide nothing here; eight do."""
    rng = np.random.default_rng(5)
    d = rng.choice([-1.0, 0.0, 1.0], p=[0.02, 0.95, 0.03], size=(seeds, 20_000))
    index = rng.choice(60, 20_000, p=np.arange(1, 61) / 1830)
    sums = crossed_sums(d, index, 60)
    x, shares = crossed_change(sums), sums.total_squares / (sums.rows * seeds)
    enough = x.effective_n >= min_rows_for(MARGIN, 0.95)
    tests = {("g", "a"): run_tests(x, shares, MARGIN, 0.95, enough)}
    verdict = judge(tests, 0.95, lambda p: np.minimum(1, np.asarray(p) * 5))["g", "a"].verdict
    no_harm, loss = SeedVerdictRule(MARGIN, 0.95, 0.01, 0.01)(x, shares)
    assert (no_harm == (verdict == "no_harm")).mean() >= 0.98  # interpolated quantiles
    assert (loss == np.isin(verdict, ("loss", "harm"))).mean() >= 0.98
    assert set(verdict) == expected


def test_interpolated_quantiles_agree_with_students():
    df = np.linspace(2, 500, 999)
    for level in (0.05, 0.001, 0.05 / 165):
        assert _critical(df, level) == pytest.approx(t_quantile(df, 1 - level), rel=1e-3)


def test_the_sums_of_losses_over_seeds_are_those_of_the_audit_and_ask_for_seeds_or_rows():
    rng = np.random.default_rng(6)
    label = rng.integers(0, 2, 400)
    right = [rng.random((3, 400)) < p for p in (0.9, 0.88)]
    columns = {
        "label": np.tile(label, 3),
        "sex": np.tile(rng.choice(["Female", "Male"], 400), 3),
        "row": np.tile(np.arange(400), 3),
        "seed": np.repeat(np.arange(3), 400),
        **{m: np.where(r, label, 1 - label).reshape(-1) for m, r in zip("ab", right, strict=True)},
    }
    keys = {"seed": "seed", "row": "row"}
    cells = count(
        TableSource(columns),
        label="label",
        models=["a", "b"],
        by=[Attribute(("sex",))],
        positive=1,
        keys=keys,
    )
    estimator = SeedGroupEstimator(cells, "the table")
    grouping = cells.grouping(Attribute(("sex",)))
    for metric, sign in (("accuracy", -1), ("fpr", 1)):
        sums = estimator.loss_sums("b", "a", metric, grouping)
        change = estimator.change("b", "a", metric, grouping)
        assert crossed_change(sums).value == pytest.approx(sign * change.value)
    answers = decide_with_seeds(estimator.loss_sums("b", "a", "accuracy", grouping), SeedVerdictRule())
    for answer in answers:
        assert answer is not None
        assert (answer.more_rows, answer.more_seeds, answer.both) != (None, None, None)
        assert answer.decided >= 0.8
