"""Answers with a legal "unknown": BBQ's published answers as a golden table, bias scores, and what is asked wrongly."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from fairpress.api.audits import audit
from fairpress.core.errors import UserError

FORMATS = {"race": "unifiedqa-t5-11b_pred_race", "arc": "unifiedqa-t5-11b_pred_arc"}
QUERY = {"baseline": "race", "compressed": "arc", "by": "category", "margin": "2pp"}
OUTCOME = "abstention=right,stereotype=biased"


def plain(text: str) -> str:
    return text.lower().strip().rstrip(".").strip()


def bbq(data_folder) -> list[dict]:
    """UnifiedQA's answers in two prompt formats, as choices 0 to 2; items without exactly one stereotyped group, and answers
    that are no choice, are left out."""
    items = []
    for file in sorted((data_folder / "bbq" / "unifiedqa").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            choices = [plain(item[f"ans{i}"]) for i in range(3)]
            chosen = {k: plain(item[column]) for k, column in FORMATS.items()}
            groups = set(item["additional_metadata"]["stereotyped_groups"])
            info = [item["answer_info"][f"ans{i}"] for i in range(3)]
            target = [i for i in range(3) if groups & set(info[i])]
            unknown = [i for i in range(3) if info[i][1] == "unknown"]
            if len(target) != 1 or len(unknown) != 1 or any(c not in choices for c in chosen.values()):
                continue
            other = 3 - target[0] - unknown[0]
            items.append(
                {
                    "category": item["category"],
                    "ambiguous": item["context_condition"] == "ambig",
                    "label": item["label"],
                    "unknown": unknown[0],
                    "biased": target[0] if item["question_polarity"] == "neg" else other,
                    **{k: choices.index(c) for k, c in chosen.items()},
                }
            )
    return items


def as_table(items: list[dict]) -> pd.DataFrame:
    def text(item: dict, key: str) -> str:
        return "unknown" if item[key] == item["unknown"] else f"choice {item[key]}"

    columns = {"right": "label", "biased": "biased", "race": "race", "arc": "arc"}
    table = {name: [text(i, key) for i in items] for name, key in columns.items()}
    return pd.DataFrame({"category": [i["category"] for i in items], **table})


def scores(items: list[dict], model: str) -> dict[str, float]:
    """Accuracy and bias scores by the formulas of Parrish et al., section 5.1, independent of the audit."""
    out = {}
    for ambiguous in (True, False):
        part = [i for i in items if i["ambiguous"] == ambiguous]
        known = [i for i in part if i[model] != i["unknown"]]
        biased = sum(i[model] == i["biased"] for i in known)
        accuracy = sum(i[model] == i["label"] for i in part) / len(part)
        bias = 2 * biased / len(known) - 1
        kind = "ambiguous" if ambiguous else "disambiguated"
        out[f"error_{kind}"] = 1 - accuracy
        out[f"bias_{kind}"] = (1 - accuracy) * bias if ambiguous else bias
        if not ambiguous:
            out["abstention"] = 1 - len(known) / len(part)
    answered = [i for i in items if i[model] != i["unknown"]]
    out["selective_risk"] = sum(i[model] != i["label"] for i in answered) / len(answered)
    out["coverage"] = len(answered) / len(items)
    out["error"] = sum(i[model] != i["label"] for i in items) / len(items)
    return out


def test_bbqs_accuracy_and_bias_scores_are_those_of_an_independent_computation(data_folder):
    """UnifiedQA in two prompt formats, of which one is called the baseline: the roles are made up, the answers are not."""
    items = bbq(data_folder)
    assert len(items) > 11_000
    report = audit(as_table(items), outcome=OUTCOME, **QUERY)
    by_category = defaultdict(list)
    for item in items:
        by_category[item["category"]].append(item)
    compared = report.comparisons[0]
    for number, model in enumerate(("race", "arc")):
        result = report.models[number]
        for group in (result.overall, *result.groups):
            expected = scores(by_category[group.values["category"]] if group.values else items, model)
            for metric in report.metrics:
                level = expected[metric]
                if metric.startswith("bias"):
                    assert group.rates[f"signed_{metric}"].value == pytest.approx(level, abs=1e-12)
                    level = abs(level)
                assert group.rates[metric].value == pytest.approx(level, abs=1e-12), metric
            assert group.rates["coverage"].value == pytest.approx(expected["coverage"], abs=1e-12)
    before, after = (scores(items, m) for m in ("race", "arc"))
    for loss in compared.overall.losses:
        change = abs(after[loss.metric]) - abs(before[loss.metric])
        assert loss.estimate.value == pytest.approx(change, abs=1e-12)
        assert loss.estimate.low < change < loss.estimate.high
    assert [x.metric for x in compared.overall.losses] == [
        "error",
        "error_ambiguous",
        "error_disambiguated",
        "abstention",
        "selective_risk",
        "bias_ambiguous",
        "bias_disambiguated",
    ]


def answers(rows: int = 4000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    right = rng.choice(["a", "b", "unknown"], rows, p=[0.3, 0.3, 0.4])
    base = np.where(rng.random(rows) < 0.8, right, "unknown")
    group = np.where(rng.random(rows) < 0.5, "x", "y")
    return pd.DataFrame({"right": right, "biased": "a", "race": base, "arc": base, "category": group})


def test_silence_that_becomes_error_is_found_although_accuracy_is_the_same():
    data = answers()
    rng = np.random.default_rng(1)
    silent = (data.race == "unknown") & (data.right == "a") & (data.category == "y")
    data.loc[silent & (rng.random(len(data)) < 0.8), "arc"] = "b"
    compared = audit(data, outcome="abstention=right", **QUERY).comparisons[0]
    y = next(g for g in compared.attributes[0].groups if g.values["category"] == "y")
    losses = {x.metric: x for x in y.losses}
    assert losses["error"].estimate.value == 0
    assert losses["abstention"].estimate.high < 0
    assert losses["selective_risk"].verdict == "harm"
    assert y.verdict == "harm"
    assert compared.verdict == "harm"


def test_the_interval_of_selective_risk_is_the_delta_methods():
    """Witness: the variance of a ratio change, from row values written out here."""
    data = answers()
    rng = np.random.default_rng(2)
    data["arc"] = np.where(
        rng.random(len(data)) < 0.1, rng.choice(["a", "b", "unknown"], len(data)), data.race
    )
    loss = next(
        x
        for x in audit(data, outcome="abstention=right", **QUERY).comparisons[0].overall.losses
        if x.metric == "selective_risk"
    )
    z = []
    for m in ("race", "arc"):
        answered = (data[m] != "unknown").to_numpy(float)
        wrong = answered * (data[m] != data.right)
        z.append((wrong - wrong.sum() / answered.sum() * answered) / answered.mean())
    se = (z[1] - z[0]).std(ddof=1) / np.sqrt(len(data))
    assert (loss.estimate.high - loss.estimate.low) / 2 == pytest.approx(1.96 * se, rel=0.1)


def test_without_ambiguous_rows_or_stereotypes_there_are_fewer_metrics():
    data = answers()
    clear = data[data.right != "unknown"]
    report = audit(clear, outcome="abstention=right", **QUERY)
    assert report.metrics == ("error", "abstention", "selective_risk")
    only = data[data.right == "unknown"]
    report = audit(only.assign(arc="a"), outcome=OUTCOME, **QUERY)
    assert report.metrics == ("error", "selective_risk", "bias_ambiguous")
    biased = report.models[1].overall.rates
    assert (biased["bias_ambiguous"].value, biased["signed_bias_ambiguous"].value) == (1, 1)


def test_a_model_that_never_answers_is_named():
    report = audit(answers().assign(arc="unknown"), outcome=OUTCOME, **QUERY)
    assert any("arc answers 'unknown' in every row" in w for w in report.warnings)
    assert report.models[1].overall.rates["selective_risk"].value is None
    page = report.to_html()
    assert "bias score in ambiguous rows" in page
    assert report.to_markdown()
    assert report.to_latex()
    assert str(report.gate())


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("abstention=right,unknown=idk", "no answer is 'idk'"),
        ("abstention=nothing", "nothing"),
        ("abstention=race", "is not a model"),
        ("abstention=right,stereotype=right", "is 'unknown' in some rows"),
        ("abstention=right,bias=x", "no setting 'bias'"),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_a_remedy(outcome, message):
    with pytest.raises(UserError, match=message):
        audit(answers(200), outcome=outcome, **QUERY)


def test_a_relative_margin_of_a_bias_score_is_refused():
    with pytest.raises(UserError, match="in points"):
        audit(answers(200), outcome=OUTCOME, **QUERY | {"margin": "5% of baseline"})
