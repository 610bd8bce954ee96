"""Tables nobody should bring, through the command line: each is a sentence, or an audit that says what is odd."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fairpress import cli
from fairpress.auditing.audit import audit
from fairpress.core.errors import UserError

PAIR = {"baseline": "a", "compressed": ["b"]}
OPTIONS = ["--baseline", "a", "--compressed", "b", "--by"]


def base(rows: int = 1200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    a = np.where(rng.random(rows) < 0.1, 1 - y, y)
    b = np.where(rng.random(rows) < 0.03, 1 - a, a)
    return pd.DataFrame(
        {
            "label": y,
            "sex": rng.choice(["F", "M"], rows),
            "race": rng.choice(list("ABC"), rows),
            "a": a,
            "b": b,
        }
    )


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def command(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            cli.main(["audit", *arguments])
        message = capsys.readouterr()
        assert stop.value.code == code, message.err
        if "--json" not in arguments:
            assert max(map(len, message.out.splitlines()), default=0) <= 100
        return message.err.strip() if code == 2 else message.out

    return command


def csv(table, name="t.csv", **options):
    table.to_csv(name, index=False, **options)
    return name


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda: csv(base(), encoding="utf-16"), "t.csv is UTF-16 text; save it as UTF-8."),
        (lambda: csv(base().assign(sex="né"), encoding="latin-1"), "t.csv is not UTF-8 text, line 2"),
        (lambda: csv(pd.DataFrame(columns=base().columns)), "has no rows"),
        (lambda: csv(base().rename(columns={"race": "a"})), "has two columns 'a' (model 'a') that differ"),
        (
            lambda: csv(base().assign(b=base().b.map({0: "Neg", 1: "Pos"}))),
            "Use the same class names",
        ),
        (lambda: csv(base().assign(sex=[f"g{i}" for i in range(1200)])), "1,200 groups (at most 1,000)"),
        (lambda: csv(base().drop(columns="b")), "has no column 'b' (model 'b')"),
    ],
)
def test_a_csv_that_cannot_be_audited_is_one_sentence(run, write, sentence):
    message = run(write(), *OPTIONS, "sex", code=2)
    assert sentence in message
    assert message.startswith("fairpress: ")
    assert "\n" not in message


def test_a_folder_a_glob_of_nothing_an_empty_and_a_false_parquet_are_one_sentence(run, tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "false.parquet").write_text("label,sex\n1,F\n")
    for name, sentence in {
        ".": "is a folder; name its files",
        "no*.csv": "no file matches no*.csv",
        "empty.csv": "empty.csv is empty; a table with a header line is needed",
        "false.parquet": "Is it complete, and CSV or Parquet?",
    }.items():
        assert sentence in run(name, *OPTIONS, "sex", code=2)


def test_a_file_whose_name_looks_like_a_glob_is_that_file(run):
    csv(base(), "a[1].csv")
    csv(base().assign(sex="other"), "a1.csv")
    groups = json.loads(run("a[1].csv", *OPTIONS, "sex", "--json"))["models"]["a"]["groups"]
    assert {g["values"]["sex"] for g in groups} == {"F", "M"}


def test_rows_that_only_one_of_the_models_has_predicted_are_refused(run):
    csv(base(300), "both.csv")
    csv(base(200, seed=1).drop(columns="b"), "one.csv")
    message = run("both.csv", "--merge", "one.csv", *OPTIONS, "sex", code=2)
    assert "one.csv has no column 'b' (model 'b'), which other tables of this audit have" in message


def test_the_label_is_no_model(run):
    arguments = ["--baseline", "a", "--compressed", "label", "--by", "sex"]
    assert "'label' is not a model" in run(csv(base()), *arguments, code=2)


def test_a_group_without_positives_is_named_with_what_it_lacks_and_gaps_say_whom_they_leave_out(run):
    table = base()
    table.loc[table.race == "A", "label"] = 0
    shown = " ".join(run(csv(table), *OPTIONS, "race").split())
    n = (table.race == "A").sum()
    by_fnr = " ".join(run("t.csv", *OPTIONS, "race", "--harm", "fnr").split())
    assert f"too few people: race = A ({n}, of which 0 positives" in by_fnr
    assert "Gaps of the TPR by 'race' are over 2 of 3 groups: race = A has no positives." in shown


def test_one_group_has_rates_and_a_verdict_and_no_gap(run):
    result = json.loads(run(csv(base().assign(sex="F")), *OPTIONS, "sex", "--json"))
    attribute = result["comparisons"]["b"]["attributes"][0]
    assert attribute["gap_changes"] == {}
    assert attribute["groups"][0]["losses"][0]["excess"]["reason"]
    gap = next(f for f in result["fairness"] if f["metric"] == "accuracy_gap")["estimate"]
    assert gap == {"value": None, "reason": "there is only one group", "n": 1}


def test_thousands_of_intersections_are_audited_and_the_terminal_shows_the_gravest(run):
    rng = np.random.default_rng(1)
    table = base(6000).assign(
        p=[f"p{i}" for i in rng.integers(0, 40, 6000)], q=[f"q{i}" for i in rng.integers(0, 40, 6000)]
    )
    table.to_parquet("t.parquet")
    shown = run("t.parquet", *OPTIONS, "p*q")
    text = " ".join(shown.split())
    # Of 1,566 groups, none of which is assessed alone, twelve are named.
    assert "p0 · q19 and 1,554 more (6,000 people)" in text
    assert "Table of all groups: --all, --html or --json" in text
    assert len(shown.splitlines()) < 50


def test_missing_values_are_a_group_and_a_note_says_how_many(run):
    table = base()
    table.loc[table.index % 10 == 0, "sex"] = None
    shown = " ".join(run(csv(table), *OPTIONS, "sex").split())
    assert "'sex' is missing in 120 rows; they form a separate group, (missing)." in shown
    assert "is missing in 120 of 1,200 rows" in run("t.csv", *OPTIONS, "sex", "--missing", "refuse", code=2)


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("1,2\n", "t.csv, line 22: 2 columns, but the header has 5; is the file truncated"),
        ('1,F,"A', "t.csv, line 22: 3 columns, but the header has 5; is the file truncated"),
    ],
)
def test_a_csv_that_is_cut_short_is_named_with_its_line(run, extra, sentence):
    with open(csv(base(20)), "a") as file:
        file.write(extra)
    assert sentence in run("t.csv", *OPTIONS, "sex", code=2)


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ("sex*", "write an intersection as sex*race, with an attribute on either side"),
        ("*", "write an intersection as sex*race"),
        ("sex**race", "write an intersection as sex*race"),
        ("sex*sex", "an intersection needs different attributes"),
        ("a", "'a' holds a model's predictions and cannot be a sensitive attribute"),
        ("sex*b", "'b' holds a model's predictions and cannot be a sensitive attribute"),
    ],
)
def test_attributes_that_make_no_groups_of_people_are_refused(run, by, sentence):
    assert sentence in run(csv(base()), *OPTIONS, by, code=2)


def test_an_intersection_in_two_orders_is_one_and_is_corrected_for_once():
    once, twice = (audit(base(), by=by, **PAIR) for by in (["sex*race"], ["sex*race", "race*sex"]))
    assert once == twice


def test_edges_of_bins_are_finite_numbers(run):
    table = base().assign(age=range(1200))
    for edge in ("nan", "inf"):
        message = run(csv(table), *OPTIONS, "age", "--bins", f"age={edge}", code=2)
        assert "the bins of 'age' need finite edges" in message


def test_stacked_runs_and_repeated_people_that_nobody_told_of_are_pointed_out():
    table = base().assign(subject=[f"p{i}" for i in range(1200)], row_id=range(1200))
    stacked = pd.concat([table.assign(seed=0), table.assign(seed=1)])
    assert not audit(table, by=["sex"], **PAIR).warnings
    assert "`seed_column='seed'`" in " ".join(audit(stacked, by=["sex"], **PAIR).warnings)
    assert "too narrow" not in " ".join(audit(stacked, by=["sex"], seed_column="seed", **PAIR).warnings)
    repeated = table.assign(subject=[f"p{i // 2}" for i in range(1200)])
    assert "`subject='subject'`" in " ".join(audit(repeated, by=["sex"], **PAIR).warnings)
    assert "too narrow" not in " ".join(audit(repeated, by=["sex"], subject="subject", **PAIR).warnings)


def test_a_place_that_cannot_be_written_is_told_before_anything_is_written(run, tmp_path):
    message = run(csv(base()), *OPTIONS, "sex", "--html", "a.html", "--latex", "/proc/x/a.tex", code=2)
    assert "cannot write /proc/x/a.tex" in message
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", 'a"b;DROP TABLE x', "x\ny", "[red]x[/red]", "../../etc", "' OR 1=1 --"],
)
def test_hostile_names_are_text_in_every_output(run, tmp_path, name):
    table = base().rename(columns={"sex": name, "b": f"b{name}"})
    table[name] = name + table[name]
    outputs = ["--html", "h.html", "--markdown", "h.md", "--latex", "h.tex", "--json"]
    csv(table)
    result = json.loads(run("t.csv", "--baseline", "a", "--compressed", f"b{name}", "--by", name, *outputs))
    assert {g["values"][name] for g in result["models"]["a"]["groups"]} == {name + "F", name + "M"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.html", "h.md", "h.tex", "t.csv"]
    page = (tmp_path / "h.html").read_text()
    assert "<script" not in page
    assert "<script" not in (tmp_path / "h.md").read_text()
    shown = run("t.csv", "--baseline", "a", "--compressed", f"b{name}", "--by", name)
    assert "\ny" not in shown


def test_the_audit_is_the_same_to_the_last_digit_for_any_order_of_rows_and_number_of_threads(monkeypatch):
    import duckdb

    table = base(4000).assign(w=np.random.default_rng(0).uniform(0.1, 5, 4000))
    table["a.score"] = np.random.default_rng(1).random(4000)
    table["b.score"] = np.random.default_rng(2).random(4000)
    first = audit(table, by=["sex*race"], **PAIR)
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *a, config: connect(*a, config={**config, "threads": "4"}))
    assert audit(table, by=["sex*race"], **PAIR) == first
    assert audit(table.sample(frac=1, random_state=0), by=["sex*race"], **PAIR) == first


def test_weights_of_any_scale_are_the_same_weights_and_equal_ones_are_none():
    table, random = base(), np.random.default_rng(0).uniform(0.1, 5, 1200)
    torn = np.where(np.arange(1200) % 2, 0.5, 1.5)
    weights = (random, 1e150 * random, np.full(1200, 3e150), torn)
    x, y, equal, uneven = (
        audit(table.assign(w=w), by=["sex"], weight="w", **PAIR).comparisons[0].overall.losses[0].estimate
        for w in weights
    )
    plain = audit(table, by=["sex"], **PAIR).comparisons[0].overall.losses[0].estimate
    assert (x.value, x.low, x.high) == pytest.approx((y.value, y.low, y.high))
    assert (equal.low, equal.high) == pytest.approx((plain.low, plain.high), abs=1e-12)
    assert uneven.high - uneven.low > plain.high - plain.low
    with pytest.raises(UserError, match="overflow when squared"):
        audit(table.assign(w=1e200), by=["sex"], weight="w", **PAIR)


def test_weights_that_sum_to_the_rows_of_their_combination_are_weights_still():
    table = pd.concat([base(300)] * 2)
    table["w"] = np.repeat([0.5, 1.5], 300)
    report = audit(table, by=["sex"], weight="w", **PAIR)
    assert report.models[0].overall.rates["accuracy"].method == "wilson-design-effect"
