"""What a user may choose: corrections, families, fixed pairs; and what seeds say alone and as populations."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from fairpress import cli
from fairpress.auditing.audit import audit
from fairpress.auditing.inference.exemplars import differing_rows, modal_class
from fairpress.auditing.inference.seed_tests import seed_noise
from fairpress.auditing.statistics.paired_seeds import hedges_g_z
from fairpress.core.errors import UserError
from fairpress.runtime.predictions_file import write_table

PAIR = {"baseline": "a", "compressed": ["b"]}


def table(rows: int = 3000, seed: int = 0, lost: float = 0.0) -> pd.DataFrame:
    """Two models of which b flips 4 %, and women of B lose `lost` of their right answers besides."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    a = np.where(rng.random(rows) < 0.15, 1 - y, y)
    sex, race = rng.choice(["F", "M"], rows), rng.choice(["A", "B"], rows)
    flip = rng.random(rows) < 0.04
    flip |= (sex == "F") & (race == "B") & (a == y) & (rng.random(rows) < lost)
    b = np.where(flip, 1 - a, a)
    return pd.DataFrame({"label": y, "sex": sex, "race": race, "a": a, "b": b, "c": a})


def balanced() -> pd.DataFrame:
    """Of 3,000 rows, half of them women, 14 become wrong and 4 become right; c changes nothing."""
    y, sex = np.arange(3000) % 2, np.where(np.arange(3000) < 1500, "F", "M")
    a = np.where(np.arange(3000) % 10 < 2, 1 - y, y)
    b = a.copy()
    right, wrong = np.flatnonzero(a == y), np.flatnonzero(a != y)
    for rows in (right[:14], wrong[:2], wrong[-2:]):
        b[rows] = 1 - a[rows]
    return pd.DataFrame({"label": y, "sex": sex, "a": a, "b": b, "c": a})


def stacked(seeds: int, rows: int = 400, moved: float = 0.0) -> pd.DataFrame:
    """Runs of one recipe that differ by chance; b is another run of it, except for women, of whom `moved` always flip."""
    rng = np.random.default_rng(1)
    y, sex, hard = rng.integers(0, 2, rows), rng.choice(["F", "M"], rows), rng.random(rows) ** 4 / 2
    always = (sex == "F") & (rng.random(rows) < moved)
    out = []
    for s in range(seeds):
        a, b = (np.where(rng.random(rows) < hard, 1 - y, y) for _ in range(2))
        b = np.where(always, 1 - y, b)
        out.append(
            pd.DataFrame({"label": y, "sex": sex, "a": a, "b": b, "seed": s, "row_id": np.arange(rows)})
        )
    return pd.concat(out)


def p_values(report, which):
    comparison = report.comparisons[0]
    groups = [comparison.overall, *(g for a in comparison.attributes for g in a.groups)]
    # Everybody is one more group of the family, and so is each pool.
    losses = [x for g in groups for x in g.losses] + [p.loss for a in comparison.attributes for p in a.pools]
    return np.array([getattr(x.estimate, which) for x in losses])


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh"), ("by", "fdr_by")])
def test_corrections_are_statsmodels(ours, theirs):
    report = audit(table(lost=0.05), by=["sex", "race", "sex*race"], correction=ours, **PAIR)
    expected = multipletests(p_values(report, "p"), method=theirs)[1]
    assert p_values(report, "p_adjusted") == pytest.approx(expected, abs=1e-12)
    assert report.correction == ours


def test_a_family_of_the_study_counts_every_artifact_and_one_of_the_artifact_does_not():
    data = balanced()
    options = {"by": ["sex"], "correction": "holm"}
    one = audit(data, **options, **PAIR)
    two = audit(data, **options, baseline="a", compressed=["b", "c"])
    together = audit(data, **options, baseline="a", compressed=["b", "c"], family="study")
    assert p_values(one, "p_adjusted") == pytest.approx(p_values(two, "p_adjusted"))
    smallest = p_values(one, "p").min()
    assert 1e-4 < smallest < 0.02
    assert p_values(one, "p_adjusted").min() == pytest.approx(
        9 * smallest
    )  # everybody, F, M in three metrics
    assert p_values(together, "p_adjusted").min() == pytest.approx(18 * smallest)
    assert any("all compressed models together" in note for note in together.notes)


def test_a_model_that_flips_nothing_costs_nothing_in_a_joint_test():
    data = balanced()
    one = audit(data, by=["sex"], **PAIR)
    together = audit(data, by=["sex"], baseline="a", compressed=["b", "c"], family="study")
    assert p_values(one, "p").min() < p_values(one, "p_adjusted").min() < 9 * p_values(one, "p").min()
    assert p_values(together, "p_adjusted") == pytest.approx(p_values(one, "p_adjusted"))


def test_a_fixed_pair_is_the_difference_of_two_independent_changes():
    data = table(lost=0.1)
    report = audit(data, by=["sex*race"], pairs=["sex*race=F,B|M,A"], **PAIR)
    pair = report.comparisons[0].pairs[0]
    assert (pair.first, pair.second) == ({"sex": "F", "race": "B"}, {"sex": "M", "race": "A"})
    groups = {tuple(g.values.values()): g for g in report.comparisons[0].attributes[0].groups}
    first, second = groups["F", "B"].changes["accuracy"], groups["M", "A"].changes["accuracy"]
    change = pair.changes["accuracy"]
    assert change.value == pytest.approx(first.value - second.value, abs=1e-12)
    halves = [(e.high - e.low) / 2 for e in (first, second)]
    assert (change.high - change.low) / 2 == pytest.approx(np.hypot(*halves), rel=1e-6)
    assert change.n == first.n + second.n
    assert pair.after["tpr"].value - pair.before["tpr"].value == pytest.approx(
        pair.changes["tpr"].value, abs=1e-12
    )
    as_groups = audit(data, by=["sex*race"], pairs=[(pair.first, pair.second)], **PAIR)
    assert as_groups.comparisons[0].pairs == report.comparisons[0].pairs


def test_a_pair_over_seeds_shares_them():
    data = stacked(4, moved=0.05)
    report = audit(data, by=["sex"], seed_column="seed", pairs=["sex=F|M"], **PAIR)
    change = report.comparisons[0].pairs[0].changes["accuracy"]
    excess = report.comparisons[0].attributes[0].groups[0].losses[0].excess
    assert (change.value, change.low) == pytest.approx((-excess.value, -excess.high), abs=1e-12)
    assert change.method == "crossed"


def test_a_pair_is_chosen_on_other_rows_only():
    rng = np.random.default_rng(3)
    validation = table(seed=5)
    wrong = (validation.race == "A") & (rng.random(len(validation)) < 0.3)
    validation["a"] = np.where(wrong, 1 - validation.label, validation.a)
    audited = table()
    report = audit(audited, by=["race"], metrics=["accuracy"], pairs_from=validation, **PAIR)
    (pair,) = report.comparisons[0].pairs
    assert (pair.first, pair.second, pair.chosen) == ({"race": "B"}, {"race": "A"}, "on other rows")
    with pytest.raises(UserError, match="regresses to the mean"):
        audit(audited, by=["race"], pairs_from=audited, **PAIR)
    with pytest.raises(UserError, match="no attribute has two groups"):
        audit(audited, by=["race"], pairs_from=validation[:90], **PAIR)


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ("sex=F", r"write attribute=group\|group"),
        ("sex*race=F|M", r"write attribute=group\|group"),
        ("age=1|2", "is not audited; add it"),
        ("sex=F|Male", "no group 'Male'"),
        ("sex=F|F", "same group twice"),
    ],
)
def test_a_pair_that_is_not_there_is_one_sentence(pair, sentence):
    with pytest.raises(UserError, match=sentence):
        audit(table(300), by=["sex", "sex*race"], pairs=[pair], **PAIR)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"correction": "none"}, "must be one of westfall-young, holm, bh, by"),
        ({"family": "all"}, "must be artifact or study"),
    ],
)
def test_a_choice_that_is_not_there_is_one_sentence(option, sentence):
    with pytest.raises(UserError, match=sentence):
        audit(table(300), by=["sex"], **option, **PAIR)


@pytest.mark.parametrize(("seeds", "floor"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_a_test_over_few_seeds_has_a_floor_and_says_when_it_cannot_decide(seeds, floor):
    """STATISTICS: p = .25 at 3 seeds, .0625 at 5, .031 at 6, .0078 at 8; unanimous seeds attain it."""
    unanimous = np.linspace(0.04, 0.06, seeds)[None]
    for family, adjust in ((1, lambda p: p), (10, lambda p: np.minimum(1, 10 * np.asarray(p)))):
        noise = seed_noise({("a", "tpr"): unanimous}, 0.95, adjust)["a", "tpr"][0]
        assert noise.smallest_p == noise.estimate.p == floor
        assert noise.undecidable == (family * floor > 0.05)


def test_the_noise_of_training_is_a_t_interval_over_seeds():
    data = stacked(5, moved=0.1)
    report = audit(data, by=["sex"], seed_column="seed", **PAIR)
    women = report.comparisons[0].attributes[0].groups[0].losses[0].seeds
    part = data[data.sex == "F"]
    lost = (part.a == part.label).groupby(part.seed).mean() - (part.b == part.label).groupby(part.seed).mean()
    low, high = stats.t.interval(0.95, 4, lost.mean(), stats.sem(lost))
    assert (women.estimate.value, women.estimate.low, women.estimate.high) == pytest.approx(
        (lost.mean(), low, high), abs=1e-12
    )
    effect = hedges_g_z(lost.to_numpy()[None])
    assert women.effect.value == pytest.approx(float(effect.value[0]))
    assert women.undecidable


def test_ties_are_ties_and_no_class_wins_them():
    predicted = np.array([[0, 0, 2], [1, 0, 2], [1, 1, 0], [0, 1, 1]])
    assert modal_class(predicted, 3).tolist() == [-1, -1, 2]
    assert differing_rows(np.array([-1, 0, 1]), np.array([1, 1, 1])).tolist() == [False, True, False]


def test_retraining_is_not_counted_as_forgetting_and_forgetting_is_found():
    for moved in (0.0, 0.1):
        data = stacked(20, moved=moved)
        result = audit(data, by=["sex"], seed_column="seed", **PAIR).comparisons[0]
        everybody, women, men = result.exemplars.groups
        assert result.exemplars.half == 10
        assert everybody.share.value > 0 < everybody.expected.value
        assert men.excess.low <= 0 <= men.excess.high
        if moved:
            of_women = data[data.sex == "F"]
            wrong = (of_women.b != of_women.label).groupby(of_women.row_id).all()
            assert 0 < women.excess.low <= wrong.mean() <= women.excess.high
        else:
            assert women.excess.low <= 0 <= women.excess.high


def test_fewer_than_ten_models_in_a_half_are_no_population():
    result = audit(stacked(19), by=["sex"], seed_column="seed", **PAIR).comparisons[0].exemplars
    assert result.groups == ()
    assert "needs 20 seeds" in result.reason


def test_networks_that_predict_one_class_are_counted():
    data = stacked(4)
    data.loc[data.seed < 2, "b"] = 1
    report = audit(data, by=["sex"], seed_column="seed", **PAIR)
    assert report.models[0].degenerate is None
    assert "2 of the 4 networks of b predict one class only" in report.models[1].degenerate


def test_ppv_over_seeds_is_the_mean_of_the_seeds_and_undefined_where_one_seed_flags_nobody():
    data = stacked(3)
    report = audit(data, by=["sex"], seed_column="seed", **PAIR)
    part = data[data.sex == "M"]
    flagged = part[part.b == 1]
    expected = flagged.groupby("seed").label.mean().mean()
    men = next(g for g in report.models[1].groups if g.values == {"sex": "M"})
    assert men.rates["ppv"].value == pytest.approx(expected, abs=1e-12)
    before = part[part.a == 1].groupby("seed").label.mean().mean()
    change = next(g for g in report.comparisons[0].attributes[0].groups if g.values == {"sex": "M"}).changes
    assert change["ppv"].value == pytest.approx(expected - before, abs=1e-12)
    data.loc[(data.seed == 1) & (data.sex == "M"), "b"] = 0
    report = audit(data, by=["sex"], seed_column="seed", **PAIR)
    men = next(g for g in report.models[1].groups if g.values == {"sex": "M"})
    assert men.rates["ppv"].reason == "nobody in this group was predicted positive"
    women = next(g for g in report.models[1].groups if g.values == {"sex": "F"})
    assert women.rates["ppv"].value is not None


def test_changes_of_ppv_of_people_and_weights_are_as_wide_as_the_bootstrap_of_rows():
    data = table(2000, lost=0.1)
    plain = audit(data, by=["sex"], **PAIR)
    copies = pd.concat([data.assign(person=np.arange(2000))] * 2)
    people = audit(copies, by=["sex"], subject="person", **PAIR)
    weighted = audit(data.assign(w=3.0), by=["sex"], weight="w", **PAIR)
    for metric in ("ppv", "npv", "balanced_accuracy"):
        x, *others = (f.comparisons[0].overall.changes[metric] for f in (plain, people, weighted))
        assert x.method == "bootstrap"
        for y in others:
            assert y.value == pytest.approx(x.value, abs=1e-12)
            assert y.high - y.low == pytest.approx(x.high - x.low, rel=0.08)


def test_the_command_line_takes_every_choice_and_json_has_all_of_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stacked(20, moved=0.1).to_parquet("runs.parquet")
    text = "--baseline a --compressed b --by sex --seed-column seed --pair sex=F|M --correction by --family study"
    options = [*text.split(), "--fail-on", "harm", "--html", "a.html"]
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", "runs.parquet", *options, "--json"])
    assert stop.value.code == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["correction"], result["family"]) == ("by", "study")
    comparison = result["comparisons"]["b"]
    assert comparison["pairs"][0]["changes"]["tpr"]["n"] > 0
    assert len(comparison["exemplars"]["groups"]) == 3
    assert comparison["overall"]["losses"][0]["seeds"]["smallest_p"] < 0.001
    page = (tmp_path / "a.html").read_text()
    for part in ("Fixed pairs of groups", "Training noise on these rows", "exemplars", "Benjamini–Yekutieli"):
        assert part in page


def test_what_made_the_predictions_travels_with_the_table(tmp_path):
    runs = {"a": {"runtime": "onnxruntime 1.22 CPU", "threshold": 0.4}, "b": {"runtime": 7}, "c": None}
    import pyarrow as pa

    data = pa.Table.from_pandas(table(300), preserve_index=False)
    data = data.replace_schema_metadata(
        {"fairpress.runtimes": json.dumps({k: v for k, v in runs.items() if v})}
    )
    write_table(tmp_path / "t.parquet", data)
    for source in (data, str(tmp_path / "t.parquet"), str(tmp_path / "*.parquet")):
        a, b = audit(source, by=["sex"], **PAIR).models
        assert (a.runtime, a.threshold) == ("onnxruntime 1.22 CPU", 0.4)
        assert (b.runtime, b.threshold) == (None, None)
    spoiled = data.replace_schema_metadata({"fairpress.runtimes": "[1, 2"})
    assert audit(spoiled, by=["sex"], **PAIR).models[0].runtime is None
    decided = audit(
        table(300).assign(risk=np.linspace(0, 9, 300)), by=["sex"], baseline="m", decide={"m": "risk>=5"}
    )
    assert decided.models[0].threshold == 5
