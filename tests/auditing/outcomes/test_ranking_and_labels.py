"""Rankings by query, and several labels of each row."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fairpress.api.audits import audit
from fairpress.auditing.output.json_schema import json_schema
from fairpress.core.errors import UserError

QUERY = {"baseline": "fp32", "compressed": "int8", "by": "g"}


def queries(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rank = rng.geometric(0.4, rows)
    worse = rank + (rng.random(rows) < 0.3)
    found = np.where(rng.random(rows) < 0.05, 0, worse)
    return pd.DataFrame({"fp32.rank": rank, "int8.rank": found, "g": rng.choice(["de", "sw"], rows)})


def reciprocal(rank: pd.Series) -> np.ndarray:
    return np.where(rank > 0, 1 / np.maximum(rank, 1), 0)


def test_reciprocal_ranks_are_paired_by_query():
    """Witness: scipy's paired t interval, which two pseudo-queries and Hall's transformation widen a little."""
    data = queries()
    loss = audit(data, outcome="ranking=rank", margin=0.05, **QUERY).comparisons[0].overall.losses[0]
    difference = reciprocal(data["fp32.rank"]) - reciprocal(data["int8.rank"])
    assert loss.estimate.value == pytest.approx(difference.mean(), abs=1e-12)
    low, high = stats.ttest_1samp(difference, 0).confidence_interval()
    assert loss.estimate.high - loss.estimate.low == pytest.approx(high - low, rel=0.2)
    assert loss.estimate.high >= high
    assert loss.levels[0].value == pytest.approx(reciprocal(data["fp32.rank"]).mean(), abs=1e-12)


def test_hits_among_the_first_ranks_are_in_points():
    data = queries()
    report = audit(data, outcome="ranking=rank,top=2", margin="2pp", **QUERY)
    hits = [(data[c] >= 1) & (data[c] <= 2) for c in ("fp32.rank", "int8.rank")]
    levels = report.comparisons[0].overall.losses[0].levels
    assert [e.value for e in levels] == pytest.approx([h.mean() for h in hits], abs=1e-12)
    assert "hit among the first 2" in str(report)
    ndcg = data.rename(columns={"fp32.rank": "fp32.ndcg", "int8.rank": "int8.ndcg"})
    ndcg[["fp32.ndcg", "int8.ndcg"]] = ndcg[["fp32.ndcg", "int8.ndcg"]] / 100
    assert audit(ndcg, outcome="ranking=ndcg", margin=0.01, **QUERY).comparisons


@pytest.mark.parametrize(
    ("outcome", "value", "message"),
    [
        ("ranking=rank", 1.5, "1, 2, 3"),
        ("ranking=rank", -1, "row 4"),
        ("ranking=rank,top=0", 1, "number of results"),
        ("ranking=ndcg,top=3", 1, "top is about positions"),
        ("ranking=score", 2, "between 0 and 1"),
    ],
)
def test_numbers_that_are_no_rankings_are_refused(outcome, value, message):
    data = queries(300).astype({"int8.rank": float})
    data.loc[3, "int8.rank"] = value
    for name in ("ndcg", "score"):
        data[f"fp32.{name}"], data[f"int8.{name}"] = 0.5, 1.0
    data.loc[3, "int8.score"] = value
    with pytest.raises(UserError, match=message):
        audit(data, outcome=outcome, margin=0.05, **QUERY)


def labelled(rows: int = 3000, labels: int = 6, seed: int = 0) -> pd.DataFrame:
    """Labels of a row that go wrong together; the last one is lost by group sw."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["de", "sw"], rows)
    together = rng.random(rows) < 0.03
    columns = {"g": group}
    for i in range(labels):
        truth = rng.random(rows) < 0.3
        wrong = (rng.random(rows) < 0.05) | (together & (rng.random(rows) < 0.7))
        base = truth ^ wrong
        lost = (rng.random(rows) < 0.01) | ((i == labels - 1) & (group == "sw") & (rng.random(rows) < 0.15))
        columns |= {f"label.l{i}": truth, f"fp32.l{i}": base, f"int8.l{i}": np.where(lost, ~truth, base)}
    return pd.DataFrame(columns)


def test_every_label_and_all_of_them_are_judged_and_the_one_that_is_lost_is_named():
    data = labelled()
    report = audit(data, outcome="multilabel", margin="2pp", **QUERY)
    assert report.metrics == ("labels", *(f"label:l{i}" for i in range(6)))
    compared = report.comparisons[0]
    errors = {
        m: np.stack([data[f"{m}.l{i}"] != data[f"label.l{i}"] for i in range(6)]) for m in ("fp32", "int8")
    }
    change = errors["int8"].astype(float) - errors["fp32"]
    losses = {x.metric: x for x in compared.overall.losses}
    assert losses["labels"].estimate.value == pytest.approx(change.mean(), abs=1e-12)
    assert losses["label:l2"].estimate.value == pytest.approx(change[2].mean(), abs=1e-12)
    sw = next(g for g in compared.attributes[0].groups if g.values["g"] == "sw")
    by_metric = {x.metric: x.verdict for x in sw.losses}
    assert by_metric["label:l5"] == "harm"
    assert all(v != "harm" for m, v in by_metric.items() if m not in ("label:l5", "labels"))
    assert compared.verdict == "harm"
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(json.dumps(report.to_dict())))
    assert "error rate of l5" in report.to_html()


def test_the_labels_of_a_row_are_one_cluster():
    data = labelled()
    e = audit(data, outcome="multilabel", margin="2pp", **QUERY).comparisons[0].overall.losses[0].estimate
    per_row = np.mean(
        [
            (data[f"int8.l{i}"] != data[f"label.l{i}"]) * 1.0 - (data[f"fp32.l{i}"] != data[f"label.l{i}"])
            for i in range(6)
        ],
        axis=0,
    )
    low, high = stats.ttest_1samp(per_row, 0).confidence_interval()
    assert e.high - e.low == pytest.approx(high - low, rel=0.2)


def test_labels_can_be_chosen_and_are_checked():
    data = labelled(600)
    report = audit(data, outcome="multilabel=l0/l3", margin="2pp", **QUERY)
    assert report.metrics == ("labels", "label:l0", "label:l3")
    for outcome, message in (("multilabel=l0/l9", "label.l9"), ("multilabel=l0/l0", "twice")):
        with pytest.raises(UserError, match=message):
            audit(data, outcome=outcome, margin="2pp", **QUERY)
    with pytest.raises(UserError, match="needs columns such as"):
        audit(data[["g", "fp32.l0", "int8.l0", "label.l0"]], outcome="multilabel", margin="2pp", **QUERY)
    data["int8.l1"] = data["int8.l1"].map({True: "yes", False: "no"})
    with pytest.raises(UserError, match="write both alike"):
        audit(data, outcome="multilabel", margin="2pp", **QUERY)
