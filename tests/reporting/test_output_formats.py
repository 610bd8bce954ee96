"""Markdown, LaTeX, impact ratios, JSON Schema, the summary inside a model: the same findings, every name escaped."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import shutil
import subprocess

import jsonschema
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper

from fairpress import api, cli, demo_data
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.metrics.impact_ratio import impact_ratios, scoring_ratios, scoring_ratios_of
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.output.audit_json import to_dict
from fairpress.auditing.output.json_schema import json_schema
from fairpress.auditing.output.summary import summary_text
from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.reporting import latex, markdown
from fairpress.reporting.csv_export import audits_csv
from fairpress.reporting.model_outputs import embed_audit, write_card
from fairpress.runtime.artifact import Artifact

HOSTILE = "<script>alert(1)</script> | `x` @team #12 [a](http://evil) & % _ ^ ~ \\ $x$\n# title"


@pytest.fixture(scope="module")
def report():
    return api.audit(demo_data.table(), baseline="fp32", compressed=["int8", "int4"], by=demo_data.BY)


@pytest.fixture
def linear() -> Artifact:
    """A model of one matrix product, made without torch."""
    weights = numpy_helper.from_array(np.eye(4, 2, dtype=np.float32), "w")
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [tensor("x", onnx.TensorProto.FLOAT, ["batch", 4])],
        [tensor("y", onnx.TensorProto.FLOAT, ["batch", 2])],
        [weights],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    card = ModelCard(
        "y", ("no", "yes"), "yes", {"name": "linear"}, {"name": "x", "shape": [4], "columns": []}
    )
    return Artifact(card, model.SerializeToString())


def hostile():
    table = demo_data.table(rows=600).to_pandas()
    table["sex"] = table.sex.replace("Female", HOSTILE)
    return api.audit(table, baseline="fp32", compressed=["int4"], by=["sex"])


def test_markdown_says_in_ten_lines_what_is_ruled_out_and_the_worst_group_first(report):
    text = report.to_markdown()
    lines = text.splitlines()
    fold = next(i for i, line in enumerate(lines) if line.startswith("<details>"))
    assert fold <= 10
    assert lines[0].startswith("### Who pays")
    int8, int4 = (line for line in lines[:fold] if line.startswith("| int"))
    assert "✔ no harm in error rate | 0.8 " in int8
    assert "✖ harm in error rate" in int4
    assert "9.5 \\[7.8, 11.3\\]" in int4
    assert "margin 2 points" in " ".join(lines[:fold])
    every = text[text.index("✖ int4 against fp32: every group") :]
    rows = [line for line in every.splitlines() if line.startswith(("| sex", "| age"))]
    assert rows[0].startswith(
        "| sex = Female and age\\_group = 65\\+ | 1,314 | error rate | +9.5 [7.8, 11.3] | 11.0 | 98 / 3 |"
    )
    assert len(rows) == 11
    assert all(line.count("|") - line.count("\\|") == 8 for line in rows)


def test_hostile_names_are_text_in_markdown():
    text = hostile().to_markdown()
    assert "<script" not in text
    assert "\n# title" not in text
    assert not re.search(r"@team|(?<!\\)`x|\]\(http:", text)


def test_hostile_names_are_text_in_latex():
    text = hostile().to_latex()
    for special in ("&", "%", "_", "#", "$"):
        assert latex.escape(special) == "\\" + special
    assert latex.escape(HOSTILE) in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


def test_csv_has_the_bounds_of_groups_pools_and_comparisons():
    table = demo_data.table(rows=2000).to_pandas()
    table["city"] = [f"c{max(0, i - 1400) // 100}" for i in table.index]
    report = api.audit(table, baseline="fp32", compressed=["int4"], by=["city"])
    (comparison,) = report.comparisons
    rows = list(csv.DictReader(io.StringIO(audits_csv([("A", report)]))))
    bounds = {r["metric"]: r for r in rows if r["what"] == "bound"}
    assert {m: float(r["upper"]) for m, r in bounds.items()} == {
        b.metric: pytest.approx(b.upper) for b in comparison.bounds
    }
    assert bounds["accuracy"]["verdict"] == comparison.verdict
    (loss,) = (r for r in rows if r["what"] == "loss" and r["group"] == "c1" and r["metric"] == "accuracy")
    group = next(g for g in comparison.attributes[0].groups if g.values["city"] == "c1")
    assert (loss["assessed"], float(loss["upper"])) == ("False", pytest.approx(group.losses[0].upper))
    pooled = [r for r in rows if r["what"] == "loss of small groups together" and r["metric"] == "accuracy"]
    (pool,) = (p for p in comparison.attributes[0].pools if p.loss.metric == "accuracy")
    assert [r["group"] for r in pooled] == ["; ".join(m["city"] for m in pool.members)]
    assert float(pooled[0]["upper"]) == pytest.approx(pool.loss.upper)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles(report, tmp_path):
    body = hostile().to_latex() + report.to_latex()
    head = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\begin{document}"
    page = head + body + "\\end{document}"
    (tmp_path / "t.tex").write_text(page, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "t.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode("latin-1")[-2000:]


def test_latex_has_a_row_per_group_and_everybody(report):
    text = report.to_latex()
    groups = sum(len(a.groups) for a in report.comparisons[0].attributes) + 1
    assert text.count(r"no harm \\") + text.count(r"harm \\") >= groups
    assert len(re.findall(r" & [\d,]+ & .* \\\\$", text, re.MULTILINE)) == 2 * groups


def table_of(selected, of):
    rows = []
    for name, (s, n) in {k: (selected[k], of[k]) for k in of}.items():
        rows += [{"label": i % 2, "race": name, "m": int(i < s)} for i in range(n)]
    return pd.DataFrame(rows)


def test_impact_ratios_are_those_of_the_rule_and_small_categories_are_named_not_judged():
    """48 of 80 and 12 of 40: the EEOC's example, questions and answers on 29 CFR 1607 (60 % and 30 %, ratio one half)."""
    table = table_of({"A": 48, "B": 12, "C": 1}, {"A": 80, "B": 40, "C": 2})
    (found,) = impact_ratios(api.audit(table, baseline="m", compressed=[], by=["race"]), "m")
    a, b, c = (next(x for x in found.categories if x.values == {"race": r}) for r in "ABC")
    assert (a.ratio.value, b.ratio.value) == (1.0, 0.5)
    assert b.below is True
    assert b.ratio.low < 0.5 < b.ratio.high
    assert c.excluded
    assert c.ratio.value is None
    assert "1 (reference)" in markdown.four_fifths([found])


def test_scoring_rates_count_who_is_above_the_median():
    scores = np.concatenate([np.linspace(0, 1, 100), np.linspace(0, 0.5, 100)])
    found = scoring_ratios(scores, ["a"] * 100 + ["b"] * 100, "sex")
    median = np.median(scores)
    rate = {c.values["sex"]: c.rate for c in found.categories}
    assert rate == {"a": (scores[:100] > median).mean(), "b": (scores[100:] > median).mean()}


def test_scoring_rates_of_a_table_are_those_of_its_scores(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "label": rng.integers(0, 2, 400),
            "race": rng.choice(["A", "B"], 400, p=[0.7, 0.3]),
            "m.score": rng.random(400),
        }
    )
    (found,) = scoring_ratios_of(TableSource(table), "m", AuditOptions(by=["race"]))
    direct = scoring_ratios(table["m.score"], table.race.tolist(), "race", "m")
    assert found == direct
    table.to_csv("t.csv", index=False)
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", "t.csv", "--baseline", "m", "--by", "race", "--four-fifths"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.count("Impact ratios of m by race") == 2
    assert "| category | people | above median | rate |" in shown
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", "t.csv", "--baseline", "m", "--by", "race", "--four-fifths", "--json"])
    assert stop.value.code == 2


def test_an_impact_ratio_of_nobody_is_none():
    table = table_of({"A": 0, "B": 0}, {"A": 50, "B": 50})
    (found,) = impact_ratios(api.audit(table, baseline="m", compressed=[], by=["race"]), "m")
    assert all(c.ratio.value is None and c.below is None for c in found.categories)
    with pytest.raises(UserError, match="no model 'n'"):
        impact_ratios(api.audit(table, baseline="m", compressed=[], by=["race"]), "n")


def audits():
    table = demo_data.table(rows=500).to_pandas()
    both = {"baseline": "fp32", "compressed": ["int4"], "by": ["sex*age_group"]}
    seeds = pd.concat([table.assign(seed=s, row_id=table.index) for s in range(2)])
    many = table.assign(label="third", fp32="third").iloc[:100]
    yield api.audit(table, **both)
    yield api.audit(table, baseline="fp32", compressed=[], by=["sex"])
    yield api.audit(table.iloc[:12], **both)
    yield api.audit(seeds, seed_column="seed", **both)
    yield api.audit(pd.concat([table, many]), **both)
    yield api.audit(table.assign(w=2, p=1), weight="w", **both)
    scores = table.assign(**{f"{m}.score": np.linspace(0, 1, len(table)) for m in ("fp32", "int4")})
    yield api.audit(scores, pairs=["sex*age_group=Female,65+|Male,65+"], **both)
    pooled = demo_data.table(rows=2000).to_pandas()
    pooled["city"] = [f"c{max(0, i - 1400) // 100}" for i in pooled.index]
    report = api.audit(pooled, baseline="fp32", compressed=["int4"], by=["city"])
    assert report.comparisons[0].attributes[0].pools
    yield report
    runs = pd.concat([table.assign(seed=s, row_id=table.index) for s in range(20)])
    yield api.audit(runs, seed_column="seed", **both)


def test_every_kind_of_audit_keeps_the_published_schema():
    check = jsonschema.Draft202012Validator(json_schema())
    check.check_schema(json_schema())
    for audit in audits():
        check.validate(json.loads(json.dumps(to_dict(audit), allow_nan=False)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("rows"),
        lambda d: d.update(rows="many"),
        lambda d: d.update(unknown=1),
        lambda d: d["comparisons"]["int4"].update(verdict="fine"),
        lambda d: d["comparisons"]["int4"]["bounds"].clear(),
        lambda d: d["comparisons"]["int4"]["bounds"][0].update(upper="large"),
        lambda d: d["comparisons"]["int4"]["overall"]["losses"][0].pop("assessed"),
        lambda d: d["margins"].update(auc=d["margins"]["tpr"]),
        lambda d: d["comparisons"]["int4"]["overall"]["changes"]["tpr"].pop("n"),
        lambda d: d["models"]["fp32"]["overall"]["rates"]["tpr"].update(value=None),
        lambda d: d["comparisons"]["int4"]["overall"].update(values="sex=Male"),
    ],
)
def test_what_is_no_audit_does_not_pass_the_schema(spoil, report):
    document = json.loads(json.dumps(to_dict(report)))
    check = jsonschema.Draft202012Validator(json_schema())
    check.validate(document)
    spoiled = copy.deepcopy(document)
    spoil(spoiled)
    with pytest.raises(jsonschema.ValidationError):
        check.validate(spoiled)


def test_a_model_carries_its_audit_and_keeps_its_digest(tmp_path, linear, report, capsys):
    folder = linear.save(tmp_path / "int4")
    before = linear.digest
    carried = embed_audit(folder, report, "int4")
    assert carried.digest == before
    assert carried.onnx != linear.onnx
    twice = embed_audit(folder, report, "int4")
    assert twice.onnx == carried.onnx
    with pytest.raises(SystemExit):
        cli.main(["show", str(folder)])
    assert "audited against fp32: harm in error rate; uneven" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["show", str(folder / "model.onnx"), "--json"])
    content = json.loads(capsys.readouterr().out)["audit"]
    assert content["verdict"] == "harm"
    (upper,) = (b["upper"] for b in content["bounds"] if b["metric"] == "accuracy")
    assert upper == pytest.approx(report.comparisons[1].bounds[0].upper)
    with pytest.raises(UserError, match=r"damaged \(.*bounds"):
        summary_text({**content, "bounds": [{**content["bounds"][0], "upper": "large"}]})
    with pytest.raises(UserError, match="does not compare a model 'int2'"):
        embed_audit(folder, report, "int2")


def test_a_card_is_written_into_the_models_folder(tmp_path, linear, report):
    folder = linear.save(tmp_path / "int4")
    text = write_card(folder, report, "int4")
    assert (folder / "README.md").read_text(encoding="utf-8") == text
    assert text.startswith("---\n")
    assert linear.digest in text
    assert "✖ harm" in text
    with pytest.raises(UserError, match="no model 'int2'"):
        write_card(folder, report, "int2")


def test_a_card_of_predictions_alone_is_a_file(tmp_path, report):
    text = write_card(tmp_path / "int4.md", report, "int4")
    assert (tmp_path / "int4.md").read_text(encoding="utf-8").startswith(text)
    assert "✖ harm" in text
    assert "sha256" not in text


def test_a_report_prints_as_on_the_command_line(report):
    assert (
        "int4 against fp32: ✖ harm in error rate: sex = Female and age_group = 65+ and 2 more groups; uneven"
        in str(report)
    )
    assert "\x1b" not in str(report)
    assert max(map(len, str(report).splitlines())) <= 100


def test_a_model_with_an_audit_inside_predicts_the_same(linear, report, tmp_path):
    from fairpress.runtime.probabilities import score

    folder = linear.save(tmp_path / "m")
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    before, after = (score(m, x, np.arange(20))[0] for m in (linear, embed_audit(folder, report, "int4")))
    np.testing.assert_array_equal(before, after)
