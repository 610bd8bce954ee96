"""Plans: against exact enumeration and the audit's verdicts, readings of counts and tables, messages."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

import fairpress as fp
from fairpress import cli
from fairpress.auditing.planning.row_plan import flips_bound
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import loss_ruled_out
from fairpress.core.errors import UserError
from fairpress.reporting.row_plan import render

GROUPS = [
    {"sex": "Female", "race": "A", "n": 2400, "positives": 900},
    {"sex": "Female", "race": "B", "n": 420, "positives": 100},
    {"sex": "Male", "race": "A", "n": 2700, "positives": 1000},
    {"sex": "Male", "race": "B", "n": 380, "positives": 120},
]


def exact_power(n: int, flips: float, margin: float) -> float:
    """The chance of "no harm" by enumeration of losses and gains."""
    b = np.arange(int(n * flips + 40))
    c = b[None, :]
    p = stats.binom.pmf(b, n, flips / 2)[:, None] * stats.binom.pmf(
        c, n - b[:, None], flips / 2 / (1 - flips / 2)
    )
    lost, gained = np.broadcast_arrays(b[:, None], c)
    clear = loss_ruled_out(bonett_price(lost, gained, n), (lost + gained) / n, margin, 0.95)
    return float((p * clear).sum())


def test_chances_and_rows_agree_with_exact_enumeration():
    plan = fp.plan(GROUPS, flips=0.03)
    for group in plan.groups:
        assert group.chance == pytest.approx(exact_power(int(group.rows.n), 0.03, 0.02), abs=0.02)
        assert group.rows_needed is not None
    needed = plan.groups[0].rows_needed
    assert exact_power(needed, 0.03, 0.02) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("flips", [0.001, 0.01])
def test_few_flips_need_the_rows_of_an_assessed_group_and_no_more(flips):
    (group, *_) = fp.plan(GROUPS, flips=flips).groups
    assert group.rows_needed == 370  # 366 make a group assessed; two digits


def test_the_smallest_margin_is_shown_with_the_requested_chance():
    for group in fp.plan(GROUPS, flips=0.03).groups:
        margin = group.smallest_margin
        assert margin is not None
        assert exact_power(int(group.rows.n), 0.03, margin) >= 0.77
        assert exact_power(int(group.rows.n), 0.03, margin - 0.003) < 0.8


def test_groups_of_an_attribute_are_added_up_and_their_chances_multiplied():
    plan = fp.plan(GROUPS, flips=0.03, by=["sex", "sex*race"])
    assert [g.rows.n for g in plan.groups[:2]] == [2820, 3080]
    chances = [g.chance for g in plan.groups if g.rows.attribute == "sex*race"]
    assert plan.joint("sex*race", "accuracy") == pytest.approx(np.prod(chances))


def test_a_rate_needs_rows_of_its_denominator():
    plan = fp.plan(GROUPS[:1], flips=0.03, metrics=["accuracy", "tpr", "fpr"])
    accuracy, tpr, fpr = plan.groups
    assert [g.rows.denominator for g in plan.groups] == [2400, 900, 1500]
    assert tpr.rows_needed == np.ceil(accuracy.rows_needed / 0.375)
    assert fpr.rows_needed == np.ceil(accuracy.rows_needed / 0.625)


def test_a_loss_as_large_as_the_margin_is_never_ruled_out():
    plan = fp.plan(GROUPS, flips=0.03, loss=0.02)
    assert [g.rows_needed for g in plan.groups] == [None] * 4
    assert max(g.chance for g in plan.groups) <= 0.05
    assert "No number of rows up to 10,000,000 suffices" in render(plan).replace("\n", " ")


def test_flips_bound_the_loss_by_clopper_and_pearson():
    """238, 458 and 1,365 unlabelled rows show less than 2 points at .2, .5 and 1 % flips (referee, "Shrinkage")."""
    for n, flips in ((238, 0.002), (458, 0.005), (1365, 0.01)):
        counts = np.arange(60)
        bounds = np.array([flips_bound(k, n) for k in counts])
        expected = stats.beta.ppf(0.95, counts + 1, n - counts)
        assert bounds == pytest.approx(expected)
        assert (stats.binom.pmf(counts, n, flips) * (bounds < 0.02)).sum() == pytest.approx(0.9, abs=0.05)
    assert flips_bound(3, 3) == 1.0


def test_a_table_without_labels_counts_flips(tmp_path):
    rows = 1000
    flip = np.arange(rows) % 50 == 0
    frame = {
        "sex": ["Female", "Male"] * (rows // 2),
        "fp32": np.ones(rows, int).tolist(),
        "int8": np.where(flip, 0, 1).tolist(),
    }
    plan = fp.plan(table=frame, by="sex", baseline="fp32", compressed="int8")
    female, male = plan.groups
    assert (female.rows.flipped, male.rows.flipped) == (20, 0)
    assert female.rows.flips == pytest.approx(20 / 500)
    assert male.rows.flips == pytest.approx(20 / 1000)  # too few of its own: that of all rows
    assert male.flips_bound == pytest.approx(1 - 0.05 ** (1 / 500))
    assert "by flips" in render(plan)
    assert fp.plan(table=frame, by="sex", flips=0.03).groups[0].flips_bound is None


def test_the_text_has_80_columns_and_the_missing_rows():
    groups = [{**g, "education": "a rather long name of a level of education"} for g in GROUPS]
    text = render(fp.plan(groups, flips=0.03, metrics=["accuracy", "tpr"]))
    lines = text.splitlines()
    assert max(len(line) for line in lines if "education" not in line) <= 80
    assert "More rows are needed of:" in text
    assert "All 4 groups of sex*race*education are cleared with" in text.replace("\n", " ")


def run(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", *arguments])
    assert stop.value.code == code


def test_the_command_reads_a_file_of_counts(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.csv").write_text("sex,n\nFemale,1200\nMale,300\n", encoding="utf-8-sig")
    run("--margin", "0.02", "--flips", "0.03", "--by-counts", "g.csv")
    assert "sex = Female" in capsys.readouterr().out
    run("--flips", "0.03", "--by-counts", "g.csv", "--json")
    document = json.loads(capsys.readouterr().out)
    assert [g["values"] for g in document["groups"]] == [{"sex": "Female"}, {"sex": "Male"}]
    assert document["joint"][0]["chance"] == pytest.approx(np.prod([g["chance"] for g in document["groups"]]))


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        ("sex,n\nF,10\n", ["--by-counts", "g.csv"], "give their share, such as `--flips 0.03`"),
        ("sex,n\nF,10\n", ["--flips", "3", "--by-counts", "g.csv"], "for 3 % write 0.03"),
        ("sex,n\nF,10\n", ["--flips", "0"], "must be greater than 0"),
        ("sex,n\nF,10\n", ["--flips", "0.03"], "the file of their counts with `--by-counts groups.csv`"),
        ("sex,people\nF,10\n", ["--flips", "0.03", "--by-counts", "g.csv"], "no column 'n'"),
        ("n\n10\n", ["--flips", "0.03", "--by-counts", "g.csv"], "no column of a sensitive attribute"),
        ("sex,n\nF,1.5\n", ["--flips", "0.03", "--by-counts", "g.csv"], "not a whole number of rows"),
        ("sex,n\nF,10,2\n", ["--flips", "0.03", "--by-counts", "g.csv"], "line 2: 3 fields"),
        ("sex,n\nF,10\nF,20\n", ["--flips", "0.03", "--by-counts", "g.csv"], "is there twice"),
        ("sex,n,n\nF,10,1\n", ["--flips", "0.03", "--by-counts", "g.csv"], "a distinct name"),
        ("sex,n\n", ["--flips", "0.03", "--by-counts", "g.csv"], "has no groups"),
        ("", ["--flips", "0.03", "--by-counts", "g.csv"], "g.csv is empty"),
        ("sex,n,positives\nF,10,20\n", ["--flips", "0.03", "--by-counts", "g.csv"], "20 positives are more"),
        ("sex,n\nF,10\n", ["--flips", "0.03", "--by-counts", "g.csv", "--metrics", "tpr"], "'positives'"),
        (
            "sex,n\nF,10\n",
            ["--flips", "0.03", "--by-counts", "g.csv", "--metrics", "tprr"],
            "Did you mean 'tpr'",
        ),
        ("sex,n\nF,10\n", ["--flips", "0.03", "--by-counts", "g.csv", "--by", "sexx"], "Did you mean 'sex'"),
        ("sex,n\nF,10\n", ["--flips", "0.03", "--by-counts", "no.csv"], "there is no file no.csv"),
        ("sex,n\nF,10\n", ["--flips", "0.03", "--table", "g.csv"], "such as `--by sex,race`"),
        ("sex,n\nF,10\n", ["--table", "g.csv", "--by", "sex"], "both models"),
        ("sex,n\nF,10\n", ["--table", "g.csv", "--by", "sex", "--baseline", "a"], "`--compressed int8`"),
        (
            "sex,n\nF,10\n",
            ["--flips", ".03", "--by-counts", "g.csv", "--assurance", "80"],
            "did you mean 0.8?",
        ),
        (
            "sex,n\nF,10\n",
            ["--flips", ".03", "--by-counts", "g.csv", "--baseline", "a"],
            "only with `--table`",
        ),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_2(content, arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.csv").write_text(content)
    run(*arguments, code=2)
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_mappings_with_a_count_that_is_no_number_are_refused():
    with pytest.raises(UserError, match="not a whole number"):
        fp.plan([{"sex": "F", "n": "many"}], flips=0.03)


def test_a_margin_is_written_as_for_an_audit_but_not_relative_to_a_baseline():
    counts = [{"sex": "F", "n": 900}, {"sex": "M", "n": 500}]
    assert fp.plan(counts, flips=0.03, margin="2pp") == fp.plan(counts, flips=0.03, margin=0.02)
    with pytest.raises(UserError, match="depends on the baseline's error"):
        fp.plan(counts, flips=0.03, margin="5% of baseline")


def test_several_attributes_are_planned_from_one_file_with_a_line_for_each_group(
    tmp_path, capsys, monkeypatch
):
    """The command line of the issue: before collecting, the rows each group needs, or the margin its rows can show."""
    monkeypatch.chdir(tmp_path)
    lines = (
        'attribute,group,rows\nsex,Female,3200\nsex,Male,3600\nrace,Black,500\nsex*race,"Female,Black",300\n'
    )
    (tmp_path / "groups.csv").write_text(lines)
    run("--margin", "0.02", "--flips", "0.03", "--by-counts", "groups.csv")
    text = capsys.readouterr().out
    assert "sex = Female and race = Black" in text
    assert "More rows are needed of: race = Black 70" in text
    assert "Both groups of sex are cleared" in text
    plan = fp.plan("groups.csv", flips=0.03, by=["race*sex", "sex"])
    assert [(g.rows.attribute, dict(g.rows.values), g.rows.n) for g in plan.groups] == [
        ("sex", {"sex": "Female"}, 3200),
        ("sex", {"sex": "Male"}, 3600),
        ("sex*race", {"sex": "Female", "race": "Black"}, 300),
    ]
    wide = fp.plan(
        [{"sex": "Female", "n": 3200}, {"sex": "Male", "rows": 3600, "n": 3600}], flips=0.03, by="sex"
    )
    assert wide.groups == plan.groups[:2]


def test_rows_and_n_are_one_column_of_counts():
    assert fp.plan([{"sex": "F", "rows": 900}], flips=0.03) == fp.plan([{"sex": "F", "n": 900}], flips=0.03)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([("sex*race", "Female", 10)], "has 2 attributes, and 'Female' 1 values"),
        ([("", "Female", 10)], "the column 'attribute' is empty"),
        ([("sex", "F", 10), ("sex", "F", 20)], "the group F of sex is there twice"),
        ([("sex", "F", "1e99")], "not a whole number of rows"),
    ],
)
def test_wrong_lines_of_groups_are_refused(lines, sentence):
    with pytest.raises(UserError, match=sentence.replace("*", r"\*")):
        fp.plan([dict(zip(("attribute", "group", "rows"), line, strict=True)) for line in lines], flips=0.03)


def test_an_attribute_without_lines_is_named():
    with pytest.raises(UserError, match=r"no lines of the attribute 'racee'.*Did you mean 'race'"):
        fp.plan([{"attribute": "race", "group": "A", "rows": 5}], flips=0.03, by="racee")
