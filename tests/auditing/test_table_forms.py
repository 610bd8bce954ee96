"""Tables of every form: weighted, with repeated people, many classes, seeds, cells of several sites, odd columns."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fairpress import api, cli
from fairpress.auditing.audit import audit
from fairpress.auditing.metrics.cell_bootstrap import bootstrap_changes
from fairpress.auditing.output.audit_json import to_dict
from fairpress.core.errors import UserError

BINARY = {"baseline": "a", "compressed": ["b"]}


def binary(rows: int = 3000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    a = np.where(rng.random(rows) < 0.15, 1 - y, y)
    return pd.DataFrame(
        {
            "label": y,
            "sex": rng.choice(["F", "M"], rows),
            "age": rng.integers(18, 80, rows).astype(float),
            "w": rng.uniform(0.2, 3, rows),
            "a": a,
            "b": np.where(rng.random(rows) < 0.05, 1 - a, a),
        }
    )


def many(rows: int = 2000) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, rows)
    a = np.where(rng.random(rows) < 0.2, rng.integers(0, 4, rows), y)
    b = np.where(rng.random(rows) < 0.1, rng.integers(0, 4, rows), a)
    names = np.array(["ant", "bee", "cat", "dog"])
    return pd.DataFrame(
        {"label": names[y], "sex": rng.choice(["F", "M"], rows), "a": names[a], "b": names[b]}
    )


def group(report, values, attribute=0):
    return next(g for g in report.comparisons[0].attributes[attribute].groups if g.values == values)


def loss(report, values, metric):
    return next(x for x in group(report, values).losses if x.metric == metric)


def test_with_many_classes_accuracy_and_flips_are_of_all_classes():
    table = many()
    report = audit(table, by=["sex"], **BINARY)
    part = table[table.sex == "F"]
    right, then = part.a == part.label, part.b == part.label
    women = group(report, {"sex": "F"})
    assert report.positive is None
    assert report.metrics == ("accuracy",)
    assert women.losses[0].estimate.value == pytest.approx(right.mean() - then.mean(), abs=1e-12)
    flips = women.flips
    assert flips.right_to_wrong == (right & ~then).sum()
    assert flips.wrong_to_right == (~right & then).sum()
    assert flips.wrong_to_wrong == (~right & ~then & (part.a != part.b)).sum() > 0
    assert set(report.models[0].overall.rates) == {"accuracy"}


def test_a_positive_class_of_many_gives_rates_against_the_rest_and_keeps_accuracy_of_all():
    table = many()
    report = audit(table, by=["sex"], positive="cat", **BINARY)
    overall = report.models[1].overall.rates
    cats = table[table.label == "cat"]
    assert overall["tpr"].value == pytest.approx((cats.b == "cat").mean(), abs=1e-12)
    assert overall["accuracy"].value == pytest.approx((table.b == table.label).mean(), abs=1e-12)
    with pytest.raises(UserError, match="TPR and FPR need a positive class"):
        audit(table, by=["sex"], metrics=["tpr"], **BINARY)


def test_equal_weights_change_next_to_nothing_and_their_scale_changes_nothing():
    table = binary()
    plain = audit(table, by=["sex"], **BINARY)
    result = [audit(table.assign(w=w), by=["sex"], weight="w", **BINARY) for w in (1.0, 1000.0)]
    for metric in ("accuracy", "tpr", "fpr"):
        a, b, c = (loss(x, {"sex": "F"}, metric).estimate for x in (plain, *result))
        assert a.value == pytest.approx(b.value, abs=1e-12) == pytest.approx(c.value, abs=1e-12)
        assert b.high - b.low == pytest.approx(c.high - c.low, rel=1e-9)
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.05)


@pytest.mark.parametrize("subject", [None, "person"])
def test_a_group_is_worth_its_rows_whatever_the_weight_of_other_groups(subject):
    """Women were sampled ten times as densely as men: their weights are small, and their rows as many as before."""
    table = binary().assign(person=np.arange(3000) // 2, w=1.0)
    table["sex"] = np.where(table.person % 3 == 0, "F", "M")
    denser = table.assign(w=np.where(table.sex == "F", 0.1, 1.0))
    before, after = (audit(t, by=["sex"], weight="w", subject=subject, **BINARY) for t in (table, denser))
    for sex in ("F", "M"):
        for metric in ("accuracy", "tpr", "fpr"):
            x, y = (loss(found, {"sex": sex}, metric) for found in (before, after))
            for end in ("value", "low", "high"):
                assert getattr(y.estimate, end) == pytest.approx(getattr(x.estimate, end), abs=2e-4), end
            assert (y.assessed, y.verdict) == (x.assessed, x.verdict)


def test_weighted_rates_are_weighted_means():
    table = binary()
    report = audit(table, by=["sex"], weight="w", **BINARY)
    men = table[table.sex == "M"]
    expected = np.average(men.b == men.label, weights=men.w) - np.average(men.a == men.label, weights=men.w)
    assert loss(report, {"sex": "M"}, "accuracy").estimate.value == pytest.approx(-expected, abs=1e-12)
    rate = next(g for g in report.models[1].groups if g.values == {"sex": "M"}).rates["ppv"]
    flagged = men[men.b == 1]
    assert rate.value == pytest.approx(np.average(flagged.label, weights=flagged.w), abs=1e-12)


def test_weighted_intervals_are_as_wide_as_the_estimator_varies():
    """Witness: the standard deviation of the weighted change over 120 redrawn tables, the groups of one audit."""
    rng = np.random.default_rng(10_000)
    tables = [binary(1000, seed).assign(draw=f"{seed:03}") for seed in range(120)]
    table = pd.concat(tables).assign(w=rng.choice([0.2, 4.0], 1000 * len(tables)))
    report = audit(table, by=["draw"], weight="w", metrics=["accuracy"], **BINARY)
    estimates = [loss(report, {"draw": t.draw.iloc[0]}, "accuracy").estimate for t in tables]
    widths = [(e.high - e.low) / (2 * 1.96) for e in estimates]
    assert np.mean(widths) / np.std([e.value for e in estimates]) == pytest.approx(1.0, abs=0.15)


def test_copies_of_a_persons_row_add_no_information():
    table = binary(1500).assign(person=np.arange(1500))
    copied = pd.concat([table] * 4)
    plain, report = audit(table, by=["sex"], **BINARY), audit(copied, by=["sex"], subject="person", **BINARY)
    naive = audit(copied, by=["sex"], **BINARY)
    a, b, c = (loss(x, {"sex": "F"}, "accuracy").estimate for x in (plain, report, naive))
    assert report.subjects == 1500
    assert b.value == pytest.approx(a.value, abs=1e-12)
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.05)
    assert c.high - c.low < 0.6 * (a.high - a.low)


def stacked(copies: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    base = binary(800)
    tables = []
    for seed in range(4):
        a = np.where(rng.random(800) < 0.15, 1 - base.label, base.label)
        b = np.where(rng.random(800) < 0.05, 1 - a, a)
        tables.append(base.assign(a=a, b=b, seed=seed, row_id=np.arange(800), person=np.arange(800)))
    one = pd.concat(tables)
    return pd.concat([one.assign(row_id=one.row_id + 800 * i) for i in range(copies)])


def test_seeds_and_people_together_are_seeds_and_rows_when_everybody_has_one_row():
    table = stacked()
    rows = audit(table, by=["sex"], seed_column="seed", **BINARY)
    people = audit(table, by=["sex"], seed_column="seed", subject="person", **BINARY)
    for metric in ("accuracy", "tpr", "fpr"):
        a, b = (loss(x, {"sex": "M"}, metric) for x in (rows, people))
        assert (b.estimate.value, b.estimate.low, b.estimate.high) == pytest.approx(
            (a.estimate.value, a.estimate.low, a.estimate.high), abs=1e-9
        )
        assert b.excess.low == pytest.approx(a.excess.low, abs=1e-9)


def test_copies_of_a_persons_row_add_no_information_over_seeds():
    once, often = (
        audit(stacked(k), by=["sex"], seed_column="seed", subject="person", **BINARY) for k in (1, 3)
    )
    a, b = (loss(x, {"sex": "M"}, "accuracy").estimate for x in (once, often))
    assert (b.value, b.low, b.high) == pytest.approx((a.value, a.low, a.high), abs=1e-9)
    assert often.rows == 3 * once.rows
    assert often.subjects == once.subjects == 800


def test_the_bootstrap_of_cells_agrees_with_a_bootstrap_row_by_row():
    table = binary(500)
    pair = np.zeros((1, 2, 2, 2))
    np.add.at(pair, (np.zeros(500, int), table.label, table.a, table.b), 1)
    result = bootstrap_changes(pair, np.random.default_rng(0), replicates=4000)
    rng, y, a, b = np.random.default_rng(1), *(table[c].to_numpy() for c in ("label", "a", "b"))
    parts = [np.flatnonzero(y == v) for v in (0, 1)]
    changes = []
    for _ in range(4000):
        i = np.concatenate([rng.choice(p, len(p)) for p in parts])
        changes.append(y[i][b[i] == 1].mean() - y[i][a[i] == 1].mean())
    low, high = np.percentile(changes, [2.5, 97.5])
    assert result["ppv"].change[0] == pytest.approx(y[b == 1].mean() - y[a == 1].mean(), abs=1e-12)
    assert (result["ppv"].low[0], result["ppv"].high[0]) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_a_number_is_cut_into_groups_on_request():
    table = binary()
    table.loc[0, "age"] = np.nan
    report = audit(table, by=["age"], bins={"age": [25, 45]}, **BINARY)
    counts = {g.values["age"]: g.n for g in report.models[0].groups}
    assert counts == {
        "(missing)": 1,
        "below 25": (table.age < 25).sum(),
        "25 to below 45": ((table.age >= 25) & (table.age < 45)).sum(),
        "45 and above": (table.age >= 45).sum(),
    }


def test_cells_of_two_sites_add_up_to_the_audit_of_all_rows(tmp_path):
    table = binary()
    sites = [table[:1000], table[1000:]]
    for weight in (None, "w"):
        options = {"by": ["sex", "age"], "weight": weight, **BINARY}
        whole = audit(table, bins={"age": [40]}, **options)
        files = [tmp_path / f"{weight}{i}.parquet" for i in range(2)]
        for site, file in zip(sites, files, strict=True):
            api.export_cells(site, file, bins={"age": [40]}, **options)
        merged = audit(files, **options)
        for a, b in zip(whole.comparisons[0].attributes, merged.comparisons[0].attributes, strict=True):
            for g, h in zip(a.groups, b.groups, strict=True):
                assert g.values == h.values
                assert g.verdict == h.verdict
                for x, y in zip(g.losses, h.losses, strict=True):
                    assert (x.estimate.value, x.estimate.high) == pytest.approx(
                        (y.estimate.value, y.estimate.high)
                    )


def test_cells_know_no_people(tmp_path):
    table = binary().assign(person=1)
    cells = api.export_cells(table, by=["sex"], **BINARY)
    with pytest.raises(UserError, match="no column 'person'"):
        audit(cells, by=["sex"], subject="person", **BINARY)
    with pytest.raises(UserError, match="cells without weights"):
        audit(cells, by=["sex"], weight="w", **BINARY)


@pytest.mark.parametrize("scores", [False, True])
def test_a_list_of_frames_with_other_columns_is_audited_as_their_concatenation(tmp_path, scores):
    rng = np.random.default_rng(2)
    table = binary().assign(unused=1.5, note="text", when=pd.Timestamp("2026-01-01"))
    if scores:
        for model in "ab":
            table[f"{model}.score"] = np.where(table[model] == 1, 0.5, 0.0) + rng.random(len(table)) / 2
    first, second = table[:1000], table[1000:]
    second.to_parquet(tmp_path / "second.parquet", index=False)
    whole = to_dict(audit(table, by=["sex"], **BINARY))["comparisons"]
    assert scores == bool(whole["b"]["matched_flips"])
    for parts in (
        [first, second],
        [first, str(tmp_path / "second.parquet")],
        [first, second[table.columns[::-1]]],
    ):
        assert to_dict(audit(parts, by=["sex"], **BINARY))["comparisons"] == whole


def test_files_of_seeds_are_read_by_a_glob(tmp_path):
    table = stacked()
    for seed, part in table.groupby("seed"):
        part.to_parquet(tmp_path / f"seed{seed}.parquet")
    together = audit(table, by=["sex"], seed_column="seed", **BINARY)
    globbed = audit(str(tmp_path / "*.parquet"), by=["sex"], seed_column="seed", **BINARY)
    assert to_dict(together)["comparisons"] == to_dict(globbed)["comparisons"]


def test_rows_of_runs_may_be_in_any_order():
    table = stacked().assign(w=lambda t: 1 + t.row_id % 3)
    shuffled = table.sample(frac=1, random_state=0)
    for options in ({}, {"weight": "w"}):
        audits = [audit(t, by=["sex"], seed_column="seed", **options, **BINARY) for t in (table, shuffled)]
        assert to_dict(audits[0])["comparisons"] == to_dict(audits[1])["comparisons"]


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda t: t.assign(label=np.where(t.index == 7, 2, t.label)), {}, "no model ever predicts '2'"),
        (lambda t: t.assign(sex=np.arange(len(t)).astype(str) + "x"), {}, "3,000 groups"),
        (lambda t: t.assign(sex=t.sex.where(t.index > 3)), {"missing": "refuse"}, "missing in 4 of 3,000"),
        (lambda t: t, {"missing": "drop"}, "must be group or refuse"),
        (lambda t: t.assign(w=-t.w), {"weight": "w"}, "negative"),
        (
            lambda t: t.assign(w=t.w.where(t.index > 0)),
            {"weight": "w"},
            "missing, negative or not a number in 1",
        ),
        (lambda t: t.assign(w=0.0), {"weight": "w"}, "sum to 0"),
        (lambda t: t, {"weight": "sex"}, "must hold numbers, but row 1 has"),
        (lambda t: t, {"bins": {"sex": [1]}}, "must hold numbers, but row 1 has"),
        (lambda t: t, {"bins": {"age": [1]}}, "which is not a sensitive attribute"),
        (lambda t: t, {"bins": {"sex": [2, 1]}}, "ascending"),
        (lambda t: t, {"subject": "person"}, "no column 'person'"),
        (lambda t: t.assign(sex=[["F"]] * len(t)), {}, "not plain values"),
        (lambda t: t.assign(a=0.5), {"decide": {"a": "sex>=1"}}, "must hold numbers, but row 1 has"),
        (lambda t: t, {"confidence": 95}, "between 0.5 and 1"),
        (lambda t: t.assign(seed=0, row_id=t.index), {"seed_column": "seed"}, "only one seed"),
        (
            lambda t: pd.concat([t.assign(seed=s, row_id=t.index) for s in (0, 1)])[:-1],
            {"seed_column": "seed"},
            "exactly once",
        ),
        (
            lambda t: pd.concat([t.assign(seed=s, row_id=t.index.where(t.index > 0, s)) for s in (0, 1)]),
            {"seed_column": "seed"},
            "exactly once",
        ),
        (
            lambda t: pd.concat([t.assign(seed=s, row_id=t.index, w=t.w.where(t.index > 0)) for s in (0, 1)]),
            {"seed_column": "seed", "weight": "w"},
            "missing, negative or not a number in 2 rows",
        ),
        (
            lambda t: pd.concat(
                [t.assign(seed=s, row_id=t.index, sex=t.sex.to_numpy()[:: 1 - 2 * s]) for s in (0, 1)]
            ),
            {"seed_column": "seed"},
            "different values of 'sex'",
        ),
        (
            lambda t: pd.concat(
                [t.assign(seed=s, row_id=t.index, w=t.w.to_numpy()[:: 1 - 2 * s]) for s in (0, 1)]
            ),
            {"seed_column": "seed", "weight": "w"},
            "different weights under different seeds",
        ),
        (
            lambda t: pd.concat([t.assign(seed=s, row_id=t.index, who=(t.index + s) // 2) for s in (0, 1)]),
            {"seed_column": "seed", "subject": "who"},
            "different people under different seeds",
        ),
    ],
)
def test_what_cannot_be_audited_says_so_in_one_sentence(change, options, sentence):
    with pytest.raises(UserError, match=sentence) as raised:
        audit(change(binary()), by=["sex"], **{**BINARY, **options})
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_utf8_or_mixes_types_is_refused_or_read_as_written(tmp_path):
    table = binary(300)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(table.assign(sex="né").to_csv(index=False).encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        audit(latin, by=["sex"], **BINARY)
    mixed = tmp_path / "mixed.csv"
    table.assign(a=table.a.astype(object).where(table.index != 5, "maybe")).to_csv(mixed, index=False)
    with pytest.raises(UserError, match="predicts 'maybe', which is not a label"):
        audit(mixed, by=["sex"], **BINARY)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UserError, match=r"empty\.csv"):
        audit(tmp_path / "empty.csv", by=["sex"], **BINARY)


def test_the_command_line_exports_merges_and_audits_alike(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = binary()
    table[:1000].to_csv("one.csv", index=False)
    table[1000:].to_csv("two.csv", index=False)
    table.to_csv("all.csv", index=False)
    options = ["--baseline", "a", "--compressed", "b", "--by", "sex,age"]

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main(["audit", *arguments, *options, "--json"])
        assert stop.value.code == 0
        return json.loads(capsys.readouterr().out)

    whole = run("all.csv", "--bins", "age=40")
    run("one.csv", "--bins", "age=40", "--export-cells", "one.parquet")
    run("two.csv", "--bins", "age=40", "--export-cells", "two.parquet")
    assert run("one.parquet", "--merge", "two.parquet")["comparisons"] == whole["comparisons"]
    assert run("one.csv", "--merge", "two.csv", "--bins", "age=40")["comparisons"] == whole["comparisons"]

    copies = pd.concat([table, table]).assign(row_id=[*range(len(table))] * 2)
    copies.to_csv("copies.csv", index=False)
    alone = run("copies.csv", "--bins", "age=40")
    assert any("several times" in w for w in alone["warnings"])
    assert run("copies.csv", "--bins", "age=40", "--export-cells", "copies.parquet") == alone
