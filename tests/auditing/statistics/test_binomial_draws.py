import numpy as np
import pytest
from scipy import stats

from fairpress.auditing.statistics.binomial_draws import BinomialDraws


@pytest.mark.parametrize("p", [0.0005, 0.01, 0.05, 0.12])
def test_draws_are_the_quantiles_of_the_binomial_distribution(p):
    rng = np.random.default_rng(0)
    draws = BinomialDraws.of(rng.integers([[0], [90]], [[12], [130]], size=(2, 5000)), rng)
    quantiles = np.maximum(stats.binom.ppf(draws.uniform, draws.trials, p), 0)
    assert np.array_equal(draws.of_chance(np.full(2, p)), quantiles)


def test_rows_with_many_expected_have_the_binomial_distribution_too():
    rng = np.random.default_rng(1)
    draws = BinomialDraws.of(rng.integers([[1000], [10]], [[1100], [20]], size=(2, 20_000)), rng)
    p = np.array([0.3, 0.02])
    drawn = draws.of_chance(p)
    assert (drawn <= draws.trials).all()
    z = (drawn - draws.trials * p[:, None]) / np.sqrt(draws.trials * (p * (1 - p))[:, None])
    assert z.mean(axis=1) == pytest.approx([0, 0], abs=4 / np.sqrt(20_000))
    assert z.var(axis=1) == pytest.approx([1, 1], abs=0.1)
    assert np.array_equal(drawn[1], stats.binom.ppf(draws.uniform[1], draws.trials[1], 0.02))


def test_draws_of_a_row_do_not_depend_on_other_chances():
    rng = np.random.default_rng(2)
    draws = BinomialDraws.of(rng.integers(1000, 1100, size=(2, 500)), rng)
    assert np.array_equal(
        draws.of_chance(np.array([0.01, 0.3]))[0], draws.of_chance(np.array([0.01, 0.01]))[0]
    )
    assert np.array_equal(draws.of_chance(np.full(2, 0.3)), draws.of_chance(np.full(2, 0.3)))
