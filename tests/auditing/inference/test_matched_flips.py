"""Flips matched by how close to call the baseline's answers were: strata, forms of scores, people, what is printed."""

from __future__ import annotations

import jsonschema
import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress.auditing.inference.closeness import STRATA
from fairpress.auditing.inference.matched_flips import match_flips
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.output.json_schema import json_schema
from fairpress.auditing.read_table import read_table
from fairpress.auditing.statistics.stratified_difference import StratifiedCounts

MODELS = {"baseline": "fp32", "compressed": "int8", "by": "race"}
SCALE = {"A": 3.0, "B": 3.0, "C": 0.5}


def table(rows: int = 6000, *, more: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Rows whose scores are compressed alike; C is closer to the threshold, and its scores move `more` times as far."""
    rng = np.random.default_rng(seed)
    race = rng.choice(list(SCALE), rows, p=[0.5, 0.3, 0.2])
    logit = rng.standard_normal(rows) * np.array([SCALE[r] for r in race])
    after = logit + 0.15 * np.where(race == "C", more, 1.0) * rng.standard_normal(rows)
    score = 1 / (1 + np.exp(-logit))
    return pd.DataFrame(
        {
            "label": (rng.random(rows) < score).astype(int),
            "race": race,
            "fp32": (logit >= 0).astype(int),
            "int8": (after >= 0).astype(int),
            "fp32.score": score,
        }
    )


def matched(frame: pd.DataFrame, **options):
    data = read_table(frame, AuditOptions(**{**MODELS, **options}))
    if data.closeness is None:
        return ()
    return match_flips(data.closeness, "fp32", ["int8"], data.attributes)["int8"]


def group(frame: pd.DataFrame, name: str = "C", **options):
    (attribute,) = matched(frame, **options)
    return next(g for g in attribute.groups if g.values["race"] == name)


def strata_of(frame: pd.DataFrame) -> np.ndarray:
    """The stratum of each row, computed independently: how many of the quantiles (k/20)² of its side its score exceeds."""
    out = np.zeros(len(frame), int)
    for side in (0, 1):
        rows = frame["fp32"] == side
        distance = (frame["fp32.score"] - 0.5).abs()[rows].to_numpy()
        ordered = np.sort(distance)
        edges = [
            ordered[max(int(np.ceil((k / STRATA) ** 2 * len(ordered))) - 1, 0)] for k in range(1, STRATA)
        ]
        out[rows] = STRATA * side + (distance[:, None] > np.array(edges)).sum(axis=1)
    return out


def test_flips_are_counted_in_strata_of_the_baselines_scores():
    frame = table()
    flipped = (frame["fp32"] != frame["int8"]).astype(float)
    counted = pd.DataFrame({"s": strata_of(frame), "g": frame["race"], "f": flipped})
    rows, flips = (
        counted.pivot_table("f", "s", "g", how).fillna(0).to_numpy(float) for how in ("count", "sum")
    )
    expected = StratifiedCounts.of(flips, rows)
    first, second = expected.rates()
    low, high = expected.interval()
    (attribute,) = matched(frame)
    for i, g in enumerate(attribute.groups):
        assert (g.share, g.rest_share) == pytest.approx((first[i], second[i]), abs=1e-12)
        assert (g.matched.value, g.matched.low, g.matched.high) == pytest.approx(
            (first[i] - second[i], low[i], high[i]), abs=1e-12
        )
        assert g.matched.p == pytest.approx(expected.p_two_sided()[i])
        assert (g.n, g.flipped) == (rows.sum(axis=0)[i], flips.sum(axis=0)[i])
        assert (g.rest_n, g.rest_flipped) == (6000 - g.n, flips.sum() - g.flipped)
        assert g.explained.value == pytest.approx(g.difference.value - g.matched.value)


def test_a_group_that_was_closer_to_call_flips_more_and_is_not_found_to():
    c = group(table(20_000))
    assert c.flipped / c.n > 3 * c.rest_flipped / c.rest_n
    assert c.difference.low > 0.03
    assert c.matched.low < 0 < c.matched.high
    assert c.matched.p_adjusted > 0.05
    assert c.explained.low > 0.03


def test_a_group_whose_scores_move_further_is_found_to_flip_more():
    c = group(table(20_000, more=2.0))
    assert c.matched.low > 0
    assert c.matched.p_adjusted < 0.001
    assert c.share - c.rest_share == pytest.approx(c.matched.value)


def test_neither_the_compressed_model_nor_the_scale_of_the_scores_moves_the_strata():
    frame = table()
    other = frame.assign(
        **{"fp32.score": np.where(frame["fp32"] == 1, 0.5, 0.0) + frame["fp32.score"] ** 3 / 2}
    )
    assert matched(other) == matched(frame)
    swapped = frame.assign(int8=1 - frame["int8"])
    a, b = (group(f) for f in (frame, swapped))
    assert b.share == pytest.approx(1 - a.share)
    assert b.matched.n == a.matched.n


@pytest.mark.parametrize("form", ["threshold", "decide", "above", "classes", "argmax", "text"])
def test_scores_come_in_every_form_that_an_audit_reads(form):
    frame = table(3000)
    expected = matched(frame)[0].groups
    options: dict[str, object] = {}
    score = frame["fp32.score"]
    match form:
        case "threshold":
            frame = frame.drop(columns="fp32")
        case "decide":
            frame = frame.drop(columns=["fp32", "fp32.score"]).assign(logit=np.log(score / (1 - score)))
            options["decide"] = {"fp32": "logit>=0"}
        case "above":  # the decision rule turned around
            frame = frame.drop(columns=["fp32", "fp32.score"]).assign(risk=1 - score)
            options["decide"] = {"fp32": "risk<=0.5"}
        case "classes" | "argmax":
            frame = frame.drop(columns="fp32.score").assign(
                **{"fp32.score.0": 1 - score, "fp32.score.1": score}
            )
            frame = frame.drop(columns="fp32") if form == "argmax" else frame
        case "text":
            frame["fp32.score"] = score.map(repr)
    found = matched(frame, positive="1", **options)[0].groups
    for a, b in zip(found, expected, strict=True):
        assert a.matched.value == pytest.approx(b.matched.value, abs=2e-3)
        assert (a.n, a.flipped) == (b.n, b.flipped)


def test_several_classes_are_matched_by_the_lead_of_the_largest_score():
    rng = np.random.default_rng(1)
    n, classes = 4000, list("xyz")
    logits = rng.standard_normal((n, 3)) * np.where(rng.random(n) < 0.3, 0.4, 2.0)[:, None]
    race = np.where(np.abs(logits).max(axis=1) < 0.8, "close", "far")
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    frame = pd.DataFrame({"race": race, "label": np.array(classes)[rng.integers(0, 3, n)]})
    frame["fp32"] = np.array(classes)[p.argmax(axis=1)]
    frame["int8"] = np.array(classes)[(logits + 0.1 * rng.standard_normal((n, 3))).argmax(axis=1)]
    for i, c in enumerate(classes):
        frame[f"fp32.score.{c}"] = p[:, i]
    (attribute,) = matched(frame)
    close = attribute.groups[0]
    assert attribute.columns == ("fp32.score.x", "fp32.score.y", "fp32.score.z")
    assert close.difference.low > 0.05
    assert close.matched.low < 0 < close.matched.high


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda f: f.assign(**{"fp32.score": f["fp32.score"].where(f.index > 7)}),
            "scores of 'fp32' are missing in 8 rows",
        ),
        (
            lambda f: f.assign(
                fp32=np.where(f["race"] == "C", (f["fp32.score"] > 0.3).astype(int), f["fp32"])
            ),
            "no threshold of 'fp32.score' gives the decisions of 'fp32'",
        ),
        (
            lambda f: f.drop(columns="fp32.score").assign(
                **{"fp32.score.1": 1 - f["fp32.score"], "fp32.score.0": f["fp32.score"]}
            ),
            "in 900 rows 'fp32' does not predict the class with its largest score",
        ),
    ],
)
def test_scores_that_do_not_say_how_close_a_decision_was_are_named(change, sentence):
    audit = fp.audit(change(table(900)), **MODELS)
    assert audit.comparisons[0].matched_flips == ()
    (note,) = [n for n in audit.notes if n.startswith("Flips are not matched by how close to call")]
    assert sentence in note


def test_without_scores_nothing_is_said():
    frame = table(900).drop(columns="fp32.score")
    audit = fp.audit(frame, **MODELS)
    assert audit.comparisons[0].matched_flips == ()
    assert "close" not in str(audit) + audit.to_markdown()
    assert "close to call" not in audit.to_html()
    stacked = pd.concat([table(300).assign(seed=s, row_id=range(300)) for s in (1, 2)])
    assert matched(stacked, seed_column="seed") == ()


def test_people_are_the_unit_and_weights_of_one_size_change_nothing():
    frame = table(2000).assign(person=range(2000), w=2.5)
    plain = group(frame)
    fourfold = group(pd.concat([frame] * 4), subject="person")
    assert fourfold.matched.value == pytest.approx(plain.matched.value, abs=1e-3)
    width, expected = (g.matched.high - g.matched.low for g in (fourfold, plain))
    assert width == pytest.approx(expected, rel=0.15)
    assert fourfold.explained.high - fourfold.explained.low == pytest.approx(
        plain.explained.high - plain.explained.low, rel=0.1
    )
    naive = group(pd.concat([frame] * 4))
    assert naive.matched.high - naive.matched.low < 0.6 * width
    weighted = group(frame, weight="w")
    assert (weighted.matched.low, weighted.matched.high) == pytest.approx(
        (plain.matched.low, plain.matched.high)
    )


def test_unequal_weights_widen_the_interval():
    frame = table(4000)
    frame["w"] = np.random.default_rng(0).choice([0.1, 5.0], 4000)
    plain, weighted = group(frame), group(frame, weight="w")
    assert weighted.matched.high - weighted.matched.low > 1.2 * (plain.matched.high - plain.matched.low)


def test_of_two_groups_one_is_tested_and_a_family_counts_every_group():
    frame = table(4000, more=1.4).assign(sex=lambda f: np.where(f["race"] == "C", "F", "M"))
    audit = fp.audit(frame, **{**MODELS, "by": ["sex", "race"]})
    sex, race = audit.comparisons[0].matched_flips
    female, male = sex.groups
    assert female.matched.value == pytest.approx(-male.matched.value)
    assert female.matched.p_adjusted == male.matched.p_adjusted
    smallest = min(g.matched.p for g in (female, *race.groups))
    assert min(g.matched.p_adjusted for g in (female, *race.groups)) == pytest.approx(min(4 * smallest, 1))


def test_rows_without_others_as_close_are_counted_as_not_compared():
    frame = table(3000)
    frame["race"] = np.where(frame["fp32"] == 1, "up", frame["race"])
    up = group(frame, "up")
    assert up.share is None
    assert up.matched.reason.startswith("no rows of this group, or none of the others")
    assert up.difference.value is not None


def test_one_group_alone_has_nothing_to_be_compared_with():
    frame = table(900).assign(race="A")
    audit = fp.audit(frame, **MODELS)
    assert audit.comparisons[0].matched_flips[0].groups[0].matched.reason == "there is only one group"
    assert "Flips by race" not in str(audit)


def test_every_report_has_the_line_and_the_table():
    audit = fp.audit(table(20_000, more=2.0), **MODELS)
    text = " ".join(str(audit).split())
    line = "Flips by race: race = C"
    assert line in text
    assert "more than closeness explains (p < 0.001)" in text
    assert "20 strata of how far its score (fp32.score) was from the decision, fixed beforehand" in text
    page = audit.to_html()
    assert line in page
    assert "flips of each group against all other rows" in page
    markdown = audit.to_markdown()
    assert "| explained by closeness |" in markdown
    document = audit.to_dict()
    jsonschema.validate(document, json_schema())
    (entry,) = document["comparisons"]["int8"]["matched_flips"]
    assert [g["values"] for g in entry["groups"]] == [{"race": r} for r in "ABC"]
    equal = " ".join(fp.audit(table(20_000), **MODELS).to_text(all_groups=True).split())
    assert "no difference shown; closeness explains +" in equal
