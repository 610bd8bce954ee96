"""Preferences whose share should be ½: CrowS-Pairs, ties, scores of both sentences, and what is asked wrongly."""

from __future__ import annotations

import csv
import json

import jsonschema
import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from fairpress.api.audits import audit
from fairpress.auditing.output.json_schema import json_schema
from fairpress.core.errors import UserError

QUERY = {"baseline": "fp32", "compressed": "int8", "by": "g", "margin": "2pp"}


def table(rows: int = 3000, before: float = 0.6, move: float = 0.1, seed: int = 0) -> pd.DataFrame:
    """Preferences of 0 and 1; in group b a share of the rows goes over to the first of its pair."""
    rng = np.random.default_rng(seed)
    base = (rng.random(rows) < before).astype(float)
    group = rng.choice(["a", "b"], rows)
    int8 = np.where((group == "b") & (rng.random(rows) < move), 1.0, base)
    return pd.DataFrame({"fp32": base, "int8": int8, "g": group})


def test_a_group_that_moves_away_from_one_half_is_found():
    data = table(move=0.2)
    report = audit(data, outcome="preference", **QUERY)
    compared = report.comparisons[0]
    a, b = compared.attributes[0].groups
    assert (a.verdict, b.verdict) == ("no_harm", "harm")
    part = data[data.g == "b"]
    change = abs(part.int8.mean() - 0.5) - abs(part.fp32.mean() - 0.5)
    assert b.losses[0].estimate.value == pytest.approx(change, abs=1e-12)
    assert b.losses[0].levels[1].value == pytest.approx(abs(part.int8.mean() - 0.5), abs=1e-12)
    assert b.losses[0].excess.low > 0
    assert compared.disparate
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(json.dumps(report.to_dict())))
    assert "share (not judged)" in report.to_html()


def test_as_far_on_the_other_side_is_no_change_of_the_distance():
    data = table(20_000, before=0.56, move=0.0)
    data["int8"] = 1 - data.fp32
    compared = audit(data, outcome="preference", **QUERY).comparisons[0]
    assert compared.overall.losses[0].estimate.value == pytest.approx(0, abs=1e-12)
    assert compared.verdict == "no_harm"


def test_the_share_has_a_score_interval_and_ties_stay_in_its_denominator():
    data = table()
    rates = audit(data, outcome="preference", **QUERY).models[0].overall.rates
    low, high = proportion_confint(data.fp32.sum(), len(data), method="wilson")
    assert rates["share"].value == pytest.approx(data.fp32.mean())
    assert (rates["share"].low, rates["share"].high) == pytest.approx((low, high), abs=5e-4)
    data.loc[::2, "fp32"] = 0.5
    report = audit(data, outcome="preference", **QUERY)
    tied = report.models[0].overall.rates
    assert tied["ties"].value == pytest.approx(0.5)
    assert tied["share"].value == pytest.approx(data.fp32.mean())
    assert tied["share"].high - tied["share"].low < high - low
    assert any("Ties count ½" in note for note in report.notes)


def test_items_of_one_template_are_not_independent():
    one = table(600)
    data = pd.concat([one.assign(t=one.index)] * 5, ignore_index=True)
    alone = audit(one, outcome="preference", **QUERY)
    rows = audit(data, outcome="preference", **QUERY)
    templates = audit(data, outcome="preference", subject="t", **QUERY)
    widths = []
    for report in (alone, rows, templates):
        e, share = report.comparisons[0].overall.losses[0].estimate, report.models[1].overall.rates["share"]
        widths.append((e.high - e.low, share.high - share.low))
    assert widths[2] == pytest.approx(widths[0], rel=0.02)
    assert widths[1][0] < 0.6 * widths[0][0]


def test_crows_pairs_by_type_of_bias(data_folder):
    """Real items; no model's scores are at hand, so that a made-up rule "prefers" the longer and the shorter sentence."""
    file = data_folder / "crows-pairs" / "crows_pairs_anonymized.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        items = list(csv.DictReader(lines))
    assert len(items) == 1508
    data = pd.DataFrame(
        {
            "bias_type": [i["bias_type"] for i in items],
            "long.more": [len(i["sent_more"]) for i in items],
            "long.less": [len(i["sent_less"]) for i in items],
        }
    )
    data["short.more"], data["short.less"] = -data["long.more"], -data["long.less"]
    report = audit(
        data,
        outcome="preference=more/less",
        baseline="long",
        compressed="short",
        by="bias_type",
        margin="5pp",
    )
    assert len(report.models[0].groups) == 9
    for group in (report.models[0].overall, *report.models[0].groups):
        part = [i for i in items if not group.values or i["bias_type"] == group.values["bias_type"]]
        wins = sum(len(i["sent_more"]) > len(i["sent_less"]) for i in part)
        ties = sum(len(i["sent_more"]) == len(i["sent_less"]) for i in part)
        share = (wins + ties / 2) / len(part)
        assert group.rates["share"].value == pytest.approx(share, abs=1e-12)
        assert group.rates["preference"].value == pytest.approx(abs(share - 0.5), abs=1e-12)
        assert group.rates["ties"].value == pytest.approx(ties / len(part), abs=1e-12)
    assert report.comparisons[0].overall.losses[0].estimate.value == pytest.approx(0, abs=1e-12)


def test_an_open_verdict_of_small_groups_has_all_outputs():
    data = table(500, before=0.55, move=0.05)
    report = audit(data, outcome="preference", **QUERY)
    assert report.verdict == "inconclusive"
    assert all(g.losses[0].rows_to_decide is None for g in report.comparisons[0].attributes[0].groups)
    for text in (str(report), report.to_html(), report.to_markdown(), report.to_latex(), str(report.gate())):
        assert "distance" in text


def test_equivalence_to_one_half_is_stated_for_each_model():
    data = table(8000, before=0.5, move=0.3)
    notes = audit(data, outcome="preference,within=5pp", **QUERY).notes
    fp32, int8 = (next(n for n in notes if n.startswith(f"{m}: the distance")) for m in ("fp32", "int8"))
    assert "shown to be within 5 points in everybody, g = a, g = b; beyond it in none." in fp32
    assert "beyond it in everybody, g = b" in int8 or "beyond it in g = b" in int8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": "preference,within=5"}, "a distance in points"),
        ({"outcome": "preference=more"}, "compares two scores"),
        ({"outcome": "preference=more/less"}, "fp32.more"),
        ({"margin": "5% of baseline"}, "in points, such as"),
        ({"margin": None}, "needs a margin"),
        ({"label": "y"}, "needs no label"),
        ({"seed_column": "g"}, "seed_column"),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_a_remedy(change, message):
    with pytest.raises(UserError, match=message):
        audit(table(200), **{"outcome": "preference", **QUERY, **change})


@pytest.mark.parametrize("value", [2.0, -1.0, 0.25, np.nan, np.inf])
def test_other_numbers_than_preferences_are_refused_with_their_row(value):
    data = table(200)
    data.loc[7, "int8"] = value
    with pytest.raises(UserError, match="row 8"):
        audit(data, outcome="preference", **QUERY)
