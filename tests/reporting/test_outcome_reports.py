"""Reports of outcomes that are not classes: in their unit, in every format, without words about correct answers."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress.auditing.measure import Measure, decimals_for
from fairpress.auditing.output.audit_json import to_dict
from fairpress.auditing.output.json_schema import json_schema
from fairpress.auditing.output.summary import summary, summary_text
from fairpress.cli import main
from fairpress.reporting.model_card import model_card

CLASS_WORDS = re.compile(
    r"correct answer|percentage point|1,000 people|false negative|positive class", re.IGNORECASE
)


def table(loss=4.0):
    rng = np.random.default_rng(0)
    n = 1500
    race = rng.choice(["A", "B_1", "C"], n, p=[0.5, 0.3, 0.2])
    age = rng.uniform(18, 80, n)
    before = age + rng.normal(0, 5, n)
    after = before + rng.normal(0, 0.5, n) + np.where(race == "C", loss, 0.0)
    return pd.DataFrame({"age": age, "race": race, "fp32": before, "int8": after, "int4": after + 0.1})


@pytest.fixture(scope="module", params=["one", "two", "none", "higher"])
def report(request):
    options = {"outcome": "abs_error=age,unit=years", "baseline": "fp32", "by": "race", "margin": 0.25}
    match request.param:
        case "one":
            return fp.audit(table(), compressed="int8", **options)
        case "two":
            return fp.audit(table(0.1), compressed=["int8", "int4"], **options)
        case "none":
            return fp.audit(table(), compressed=[], **options)
    return fp.audit(table(-9.0), compressed="int8", **options | {"outcome": "score,better=higher,unit=years"})


def test_every_format_is_in_the_unit_and_says_nothing_about_classes(report):
    card = model_card(report, "int8") if report.comparisons else ""
    for text in (str(report), report.to_html(), report.to_markdown(), report.to_latex(), card):
        plain = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        assert not CLASS_WORDS.search(plain.partition("How to read this")[0])
        if report.comparisons and text:
            assert "years" in text
            assert "0.25 year" in text


def test_audit_json_follows_the_schema(report):
    document = json.loads(json.dumps(to_dict(report), allow_nan=False))
    jsonschema.Draft202012Validator(json_schema()).validate(document)
    assert document["outcome"]["kind"] in ("abs_error", "score")
    assert document["outcome"]["measures"][document["metrics"][0]]["unit"] == "years"


def test_the_schema_takes_a_margin_of_a_year_and_more_of_an_outcome_alone():
    report = fp.audit(
        table(), outcome="abs_error=age", baseline="fp32", compressed="int8", by="race", margin=1.5
    )
    document = json.loads(json.dumps(to_dict(report)))
    check = jsonschema.Draft202012Validator(json_schema())
    check.validate(document)
    right = np.arange(len(table())) % 2
    predicted = table().assign(label=right, fp32=right, int8=right)
    classes = fp.audit(predicted, baseline="fp32", compressed="int8", by="race")
    document = json.loads(json.dumps(to_dict(classes)))
    check.validate(document)
    document["margins"]["accuracy"]["value"] = 1.5
    assert not check.is_valid(document)


def test_a_fall_is_called_a_fall():
    report = fp.audit(
        table(-9.0), outcome="score,better=higher", baseline="fp32", compressed="int8", by="race", margin=0.25
    )
    text = str(report)
    assert "Not ruled out  a fall of the mean score by up to" in text
    assert "harm in mean score: race = C" in text
    assert "Shown to fall  race = C: mean score by at least" in text
    assert not re.search(r"\brises?\b", text)


def test_the_gate_is_in_the_unit(report):
    if not report.comparisons:
        return
    gate = report.gate()
    lines = str(gate)
    assert "margin 0.25 years" in lines
    assert "points" not in lines
    assert gate.passed == all(c.verdict == "no_harm" for c in report.comparisons)
    assert "years" in gate.to_markdown()
    json.dumps(gate.to_dict(), allow_nan=False)


def test_an_embedded_summary_is_read_back_in_the_unit():
    report = fp.audit(
        table(),
        outcome="abs_error=age,unit=years",
        baseline="fp32",
        compressed="int8",
        by="race",
        margin=0.25,
    )
    lines = "\n".join(summary_text(json.loads(json.dumps(summary(report, "int8")))))
    assert "margin 0.25 years" in lines
    assert re.search(r"race = C: harm; loss: mean absolute error \+\d\.\d+ years", lines)
    assert "points" not in lines


def test_hostile_names_are_escaped():
    rows = table().rename(columns={"race": "<b>"}).replace({"C": "<script>x</script>"})
    report = fp.audit(
        rows,
        outcome={"abs_error": "age", "unit": "<i>years"},
        baseline="fp32",
        compressed="int8",
        by="<b>",
        margin=0.25,
    )
    page = report.to_html()
    assert "<script>" not in page
    assert "<i>years" not in page
    assert "<script>" not in report.to_markdown()
    assert "<i>" not in report.to_markdown()


@pytest.mark.parametrize(
    ("margin", "decimals"), [(0.02, 3), (2.0, 1), (0.25, 2), (5.0, 1), (200.0, 0), (0.001, 5)]
)
def test_decimals_show_a_twentieth_of_the_margin(margin, decimals):
    assert decimals_for(margin) == decimals


def test_bounds_are_rounded_away_from_the_truth():
    years = Measure("error", "error", "years", decimals=2)
    assert years.rounded_up(0.2501) == "0.26"
    assert years.rounded_up(0.25) == "0.25"
    assert years.rounded_down(0.2599) == "0.25"
    assert years.rounded_down(0.0004) == "0.0004"
    assert years.signed(-0.001) == "0.00"
    assert (years.exact(1), years.exact(0.25)) == ("1 year", "0.25 years")
    assert Measure("latency", "ms", "ms").exact(1) == "1 ms"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code, capsys.readouterr()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ages.csv"
    table().to_csv(path, index=False)
    return path


def test_the_command_line_audits_outcomes(file, tmp_path, capsys):
    options = [
        "--baseline",
        "fp32",
        "--compressed",
        "int8",
        "--by",
        "race",
        "--outcome",
        "abs_error=age,unit=years",
    ]
    page = tmp_path / "audit.html"
    code, printed = run(capsys, "audit", file, *options, "--margin", "0.25", "--html", page, "--gate")
    assert code == 1
    assert "harm in mean absolute error: race = C" in printed.out
    assert page.exists()
    code, printed = run(capsys, "audit", file, *options, "--margin", "0.25", "--json")
    assert json.loads(printed.out)["outcome"]["columns"] == "age"
    code, printed = run(capsys, "audit", file, *options)
    assert code == 2
    assert "needs a margin" in printed.err
    assert "--margin" in printed.err


@pytest.mark.parametrize(
    "option", [("--four-fifths",), ("--export-cells", "c.parquet"), ("--monitor", "l.json")]
)
def test_options_about_classes_are_refused(option, file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--baseline", "fp32", "--compressed", "int8", "--by", "race", "--outcome", "abs_error=age"]
    code, printed = run(capsys, "audit", file, *options, "--margin", "0.25", *option)
    assert code == 2
    assert f"{option[0]} does not go with the outcome" in printed.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ages.csv"]
