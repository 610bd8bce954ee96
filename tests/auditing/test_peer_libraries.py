"""Other libraries as witnesses: fairlearn for the metrics, scipy and statsmodels for the inference."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path

import fairlearn.metrics as fl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from fairpress.auditing.audit import audit
from fairpress.auditing.statistics.proportion_intervals import exact_mcnemar, wilson
from fairpress.auditing.statistics.range_bounds import range_quantile
from fairpress.auditing.verdicts.multiplicity import holm

ROOT = Path(__file__).parents[2]
EXACT = {"rel": 1e-12, "abs": 1e-12}

# fairpress → fairlearn. Both are ≥ 0 and largest − smallest, except the ratio.
FAIRNESS = {
    "demographic_parity_difference": fl.demographic_parity_difference,
    "disparate_impact": fl.demographic_parity_ratio,
    "equal_opportunity_difference": fl.equal_opportunity_difference,
    "equalized_odds_difference": fl.equalized_odds_difference,
    "average_odds_difference": lambda *a, **k: fl.equalized_odds_difference(*a, agg="mean", **k),
}
RATES = {
    "selection_rate": fl.selection_rate,
    "tpr": fl.true_positive_rate,
    "fpr": fl.false_positive_rate,
    "tnr": fl.true_negative_rate,
    "fnr": fl.false_negative_rate,
}


@st.composite
def tables(draw):
    """Tables in which every group has positives and negatives, so that all metrics are defined."""
    groups = draw(st.integers(2, 5))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 60, groups)
    group = np.repeat([f"g{i}" for i in range(groups)], sizes)
    label = np.concatenate([np.concatenate([[0, 1], rng.integers(0, 2, n - 2)]) for n in sizes])
    noise = draw(st.floats(0.0, 1.0))
    model = np.where(rng.random(len(label)) < noise, rng.integers(0, 2, len(label)), label)
    return pd.DataFrame({"label": label, "g": group, "m": model})


@settings(max_examples=12, deadline=None)
@given(tables())
def test_every_metric_is_fairlearns(table):
    report = audit(table, baseline="m", by=["g"])
    arguments = {"y_true": table.label, "y_pred": table.m}
    ours = {f.metric: f.estimate.value for f in report.fairness}
    for name, peer in FAIRNESS.items():
        theirs = peer(**arguments, sensitive_features=table.g)
        if name == "disparate_impact" and np.isnan(theirs):
            assert ours[name] is None
        else:
            assert ours[name] == pytest.approx(theirs, **EXACT), name
    for name, peer in RATES.items():
        frame = fl.MetricFrame(metrics=peer, **arguments, sensitive_features=table.g)
        for group in report.models[0].groups:
            assert group.rates[name].value == pytest.approx(frame.by_group[group.values["g"]], **EXACT)
        spread = frame.difference(method="between_groups")
        if name == "fpr":
            assert ours["predictive_equality_difference"] == pytest.approx(spread, **EXACT)
    accuracy = (table.m == table.label).groupby(table.g).mean()
    assert ours["accuracy_gap"] == pytest.approx(accuracy.max() - accuracy.min(), **EXACT)
    assert ours["worst_group_accuracy"] == pytest.approx(accuracy.min(), **EXACT)


@settings(max_examples=15, deadline=None)
@given(tables())
def test_pairwise_bias_is_the_papers_sum_over_pairs(table):
    """Kamal and Talbert, eq. 1, written out."""
    report = audit(table, baseline="m", by=["g"])
    ours = {f.metric: f.estimate.value for f in report.fairness}
    parts = [t for _, t in table.groupby("g")]
    sensitivity = [t.m[t.label == 1].mean() for t in parts]
    specificity = [1 - t.m[t.label == 0].mean() for t in parts]
    pairs = list(itertools.combinations(range(len(parts)), 2))
    total = sum(abs(specificity[i] - specificity[j]) + abs(sensitivity[i] - sensitivity[j]) for i, j in pairs)
    assert ours["pairwise_bias"] == pytest.approx(total, **EXACT)
    assert ours["pairwise_bias_mean"] == pytest.approx(total / len(pairs), **EXACT)


@given(st.integers(1, 3000), st.data(), st.floats(0.5, 0.999))
def test_wilson_is_statsmodels(n, data, confidence):
    x = data.draw(st.integers(0, n))
    low, high = proportion_confint(x, n, alpha=1 - confidence, method="wilson")
    assert [float(v) for v in wilson(x, n, confidence)] == pytest.approx([low, high], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_is_statsmodels(p):
    assert holm(np.array(p)) == pytest.approx(multipletests(p, method="holm")[1], **EXACT)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_statsmodels(b, c):
    theirs = mcnemar([[5, b], [c, 5]], exact=True).pvalue if b + c else 1.0
    assert float(exact_mcnemar(b, c)) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("k", [2, 4, 10])
def test_the_quantile_of_the_range_is_scipys(k):
    assert range_quantile(k, 0.95) == pytest.approx(stats.studentized_range.ppf(0.95, k, np.inf), abs=1e-5)


def test_every_metric_is_aif360s():
    """aif360 needs its own environment: FAIRPRESS_AIF360_PYTHON names its interpreter; else stored values stand."""
    stored = json.loads((Path(__file__).parent / "aif360.json").read_text(encoding="utf-8"))
    witness = os.environ.get("FAIRPRESS_AIF360_PYTHON")
    if witness:
        script = ROOT / "benchmarks" / "aif360_witness.py"
        stored = json.loads(
            subprocess.run([witness, script], check=True, capture_output=True, text=True).stdout
        )
    for case in stored:
        table = pd.DataFrame(case["table"])
        report = audit(table, baseline="m", by=["g"])
        ours = {f.metric: f.estimate.value for f in report.fairness}
        theirs = case["metrics"]
        # aif360 takes unprivileged − privileged, signed; of two groups ours is its absolute value.
        for name, peer in {
            "demographic_parity_difference": "statistical_parity_difference",
            "equal_opportunity_difference": "equal_opportunity_difference",
            "predictive_equality_difference": "false_positive_rate_difference",
        }.items():
            assert ours[name] == pytest.approx(abs(theirs[peer]), **EXACT), name
        ratio = theirs["disparate_impact"]
        assert ours["disparate_impact"] == pytest.approx(min(ratio, 1 / ratio), **EXACT)
        both = (theirs["equal_opportunity_difference"], theirs["false_positive_rate_difference"])
        assert ours["average_odds_difference"] == pytest.approx(sum(map(abs, both)) / 2, **EXACT)
        if both[0] * both[1] >= 0:  # aif360 averages with the signs
            assert ours["average_odds_difference"] == pytest.approx(
                abs(theirs["average_odds_difference"]), **EXACT
            )
        for group in report.models[0].groups:
            for name, value in theirs["rates"][group.values["g"]].items():
                assert group.rates[name].value == pytest.approx(value, **EXACT)
