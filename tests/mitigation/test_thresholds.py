"""Thresholds per group against fairlearn's own predictions, and their way through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fairpress.core.errors import UserError
from fairpress.mitigation.thresholds import FAIRLEARN_CONSTRAINTS, GroupThresholds, fit


def _table(rows: int = 3000, seed: int = 0):
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 3, rows)
    labels = (rng.random(rows) < 0.3 + 0.15 * which).astype(int)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + 0.5 * which + rng.normal(size=rows))))
    return scores, labels, [(f"g{v}",) for v in which]


@pytest.mark.parametrize("constraint", FAIRLEARN_CONSTRAINTS)
def test_probabilities_are_those_of_fairlearn(constraint):
    from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.linear_model import LogisticRegression

    scores, labels, keys = _table()
    groups = np.array([k[0] for k in keys])
    # A classifier that says the score: fairlearn's own way in, through predict_proba.
    x = np.log(scores / (1 - scores)).reshape(-1, 1)
    model = LogisticRegression().fit(x, labels)
    model.coef_[:], model.intercept_[:] = 1.0, 0.0
    peer = ThresholdOptimizer(
        estimator=model, constraints=FAIRLEARN_CONSTRAINTS[constraint], objective="accuracy_score", prefit=True,
        predict_method="predict_proba",
    )  # fmt: skip
    peer.fit(x, labels, sensitive_features=groups)
    expected = peer._pmf_predict(x, sensitive_features=groups)[:, 1]
    created = GroupThresholds.from_dict(
        json.loads(json.dumps(fit(scores, labels, keys, ("g",), constraint=constraint).to_dict()))
    )
    for group in created.groups:
        own = groups == group.values["g"]
        assert group.probability(scores[own], 0.5) == pytest.approx(expected[own], abs=1e-9)


def test_rates_are_equal_where_they_were_not():
    scores, labels, keys = _table()
    created = fit(scores, labels, keys, ("g",), constraint="demographic_parity")
    groups = np.array([k[0] for k in keys])

    def gap(decided):
        rates = [decided[groups == g].mean() for g in np.unique(groups)]
        return max(rates) - min(rates)

    repaired, decided = created.apply(scores, keys, [str(i) for i in range(len(scores))], 0.5)
    assert gap(scores >= 0.5) > 0.2
    assert gap(decided) < 0.05
    assert np.array_equal(repaired, scores)


def test_a_group_without_either_label_keeps_the_threshold_of_the_model():
    scores, labels, keys = _table(600)
    keys[:4], labels[:4] = [("tiny",)] * 4, 1
    created = fit(scores, labels, keys, ("g",))
    (tiny,) = (g for g in created.groups if g.values["g"] == "tiny")
    assert tiny.reason == "4 positives among the validation rows, fewer than 10"
    _, decided = created.apply(np.array([0.61, 0.59]), [("tiny",)] * 2, ["a", "b"], 0.6)
    assert decided.tolist() == [True, False]
    with pytest.raises(UserError, match="fitted without the group g = new"):
        created.apply(scores[:1], [("new",)], ["r"], 0.5)


def test_an_unknown_constraint_is_named():
    with pytest.raises(UserError, match="Did you mean 'equalized_odds'"):
        fit(*_table(60), ("g",), constraint="equalised_odds")
