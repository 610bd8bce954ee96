"""For papers and releases: LaTeX, CSV, figures in other forms, model cards that Hugging Face reads."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pandas as pd
import pytest

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.core.errors import UserError
from fairpress.reporting import latex
from fairpress.reporting.csv_export import audits_csv, claims_csv
from fairpress.reporting.model_card import model_card
from fairpress.reporting.paper_tables import tables
from fairpress.studies.report import publish

EVIL = "a|b <script>\n---\n# x: {y} & % _"
CLAIM = {
    "name": "c",
    "claim": {"says": "INT8 is free & easy", "of": ["recipe=int8"], "quantity": "accuracy", "expect": "less"},
    "by": "sex",
    "groups": [],
    "answer": "supported",
    "why": "",
    "effect": {"value": -0.02, "low": -0.03, "high": -0.01, "n": 100},
    "p": 0.001,
    "p_adjusted": 0.002,
    "size": {"value": -1.2, "low": -2.0, "high": -0.5},
    "seeds": 8,
    "networks": 16,
    "rows": 100,
}


@pytest.fixture(scope="module")
def demo():
    return audit(demo_data.table(), by=demo_data.BY, baseline="fp32", compressed=["int8", "int4"])


def test_hugging_face_reads_the_rates_of_every_group(demo):
    hub = pytest.importorskip("huggingface_hub")
    text = model_card(demo, "int4", dataset="made", facts={"file": "28 KB"})
    card = hub.ModelCard(text)
    found = {(r.metric_type, r.metric_name): r.metric_value for r in card.data.eval_results}
    model = next(m for m in demo.models if m.name == "int4")
    for g in model.groups:
        name = " and ".join(f"{k} = {v}" for k, v in g.values.items())
        assert found["accuracy", f"accuracy, {name}"] == pytest.approx(g.rates["accuracy"].value, abs=1e-6)
    assert {r.dataset_name for r in card.data.eval_results} == {"made"}
    assert card.data.library_name == "onnx"
    assert "✖ harm" in text
    rows = [line for line in text.splitlines() if line.startswith(("| sex", "| age"))]
    assert len(rows) == len(model.groups)
    assert all(line.count("|") == rows[0].count("|") for line in rows)
    with pytest.raises(UserError, match="Did you mean 'int4'"):
        model_card(demo, "int44")


def test_hostile_names_break_neither_the_front_matter_nor_the_table():
    table = demo_data.table(rows=1500).to_pandas().rename(columns={"int8": EVIL})
    table["sex"] = EVIL + table["sex"]
    found = audit(table, by=["sex"], baseline="fp32", compressed=[EVIL])
    text = model_card(found, EVIL, dataset=EVIL, notes=[EVIL])
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(text)
    assert card.data.eval_results[0].dataset_name == EVIL
    body = text.split("\n---\n", 1)[1] if EVIL not in text else card.text
    assert "<script>" not in body
    assert latex.escape("&") in latex.render_study([], [{**CLAIM, "claim": {**CLAIM["claim"], "says": EVIL}}])


def test_the_csv_holds_every_number_once(demo):
    found = pd.read_csv(io.StringIO(audits_csv([("s", demo)])))
    assert not found.duplicated(["section", "model", "against", "attribute", "group", "what", "metric"]).any()
    loss = found[(found.what == "loss") & (found.model == "int4") & (found.metric == "fpr")]
    worst = loss[loss.group == "Female, 65+"].iloc[0]
    assert (worst.verdict, round(100 * worst.value, 1)) == ("harm", 9.8)
    assert worst.low < worst.value < worst.high
    claims = pd.read_csv(io.StringIO(claims_csv([CLAIM])))
    assert claims.iloc[0].answer == "supported"
    assert claims.iloc[0].effect == -0.02


def test_latex_has_a_table_of_each_kind_and_theirs_below_ours(demo):
    theirs = {"int8": {"accuracy": 0.8912}}
    told = [("", list(tables(demo, {"fp32": 4000, "int8": 1000}, theirs)))]
    text = latex.render_study(told, [CLAIM], {"source": "Them & us"})
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == len(told[0][1]) + 1
    assert r"\quad published & 89.12" in text
    assert r"Them \& us" in text
    assert "INT8 is free \\& easy & supported" in text
    for line in text.splitlines():
        if line.endswith(r"\\") and "published" in line:
            assert line.count("&") == len(told[0][1][0].columns)


def test_figures_are_written_in_other_forms_without_a_browser(demo, tmp_path):
    from fairpress.reporting.forest_plot import forest

    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.svg").write_text(forest(demo.comparisons[0], 0.02, "accuracy"))
    done = SimpleNamespace(folder=tmp_path)
    assert publish.figures(done, ["svg"]) == []
    written = publish.figures(done, ["pdf", "png"])
    assert [p.name for p in written] == ["a.pdf", "a.png"]
    assert written[0].read_bytes().startswith(b"%PDF")
    assert written[1].read_bytes().startswith(b"\x89PNG")
    assert publish.figure_formats("pdf, png") == ["pdf", "png"]
    with pytest.raises(UserError, match="takes svg, pdf, png, not 'pdff'"):
        publish.figure_formats("pdff")
