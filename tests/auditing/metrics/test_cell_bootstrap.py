import numpy as np
import pytest

from fairpress.auditing.metrics.cell_bootstrap import BOOTSTRAPPED, bootstrap_changes
from fairpress.auditing.metrics.rates import BASELINE, COMPRESSED, confusion, rate


def models(rows: int, flips: float, count: int = 2, groups: int = 3) -> np.ndarray:
    """Return cells [models, groups, 2, 2, 2] of models that flip a share of one baseline's predictions."""
    rng = np.random.default_rng(rows)
    base = rng.multinomial(rows, [0.4, 0.1, 0.15, 0.35], size=groups).reshape(groups, 2, 2)
    cells = np.empty((count, groups, 2, 2, 2))
    for one in cells:
        flipped = rng.binomial(base, flips)
        for a in (0, 1):
            one[..., a, 1 - a], one[..., a, a] = flipped[..., a], base[..., a] - flipped[..., a]
    return cells


@pytest.mark.parametrize(("rows", "flips"), [(200, 0.03), (4000, 0.01), (3000, 0.2)])
def test_replicates_have_the_distribution_of_multinomial_cells(rows, flips):
    cells = models(rows, flips)[1]
    found = bootstrap_changes(cells, np.random.default_rng(0), replicates=20_000)
    flat = cells.reshape(-1, 2, 4)
    p = (flat + 0.5) / (flat.sum(-1, keepdims=True) + 2)
    size = flat.sum(-1).astype(int)
    drawn = (
        np.random.default_rng(1).multinomial(size, p, size=(20_000, *size.shape)).reshape(-1, *cells.shape)
    )
    for name in BOOTSTRAPPED:
        after, before = (rate(confusion(drawn, m), name).value for m in (COMPRESSED, BASELINE))
        low, high = np.quantile(after - before, [0.025, 0.975], axis=0)
        width = high - low
        assert found[name].low == pytest.approx(low, abs=0.04 * width.max())
        assert found[name].high == pytest.approx(high, abs=0.04 * width.max())


def test_the_interval_of_a_model_does_not_depend_on_the_other_models():
    cells = models(3000, 0.2, count=3)
    together = bootstrap_changes(cells, np.random.default_rng(0))
    for m, one in enumerate(cells):
        alone = bootstrap_changes(one, np.random.default_rng(0))
        for name in BOOTSTRAPPED:
            assert np.array_equal(alone[name].low, together[name].low[m])
            assert np.array_equal(alone[name].high, together[name].high[m])


def test_rounding_errors_of_equal_weights_change_nothing():
    cells = models(200, 0.03)
    noisy = cells * (1 + 1e-12 * np.random.default_rng(0).random(cells.shape))
    exact, rounded = (bootstrap_changes(x, np.random.default_rng(0)) for x in (cells, noisy))
    for name in BOOTSTRAPPED:
        assert rounded[name].low == pytest.approx(exact[name].low, abs=1e-6)


def test_models_of_other_rows_are_refused():
    cells = models(200, 0.03)
    cells[1, 0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match="same baseline"):
        bootstrap_changes(cells, np.random.default_rng(0))


def test_without_predicted_positives_there_is_no_ppv():
    cells = np.zeros((1, 2, 2, 2))
    cells[0, :, 0, 0] = 50
    found = bootstrap_changes(cells, np.random.default_rng(0))
    assert np.isnan(found["ppv"].change).all()
    assert found["npv"].low < found["npv"].change == 0 < found["npv"].high
