"""Audits of several releases beside each other: what is compared, refused and shown together."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fairpress as fp
from fairpress import cli
from fairpress.auditing.monitoring.compare_audits import compare_audits, to_dict
from fairpress.auditing.statistics.e_process import log_e_no_harm, release_level
from fairpress.core.errors import UserError
from fairpress.reporting.compared_audits import render
from monitored_rows import table


def audit(rows: int = 4000, loss: float = 0.0, **options: object) -> dict[str, object]:
    frame = table(rows, loss=loss)
    return fp.audit(frame, baseline="fp32", compressed=["int8"], by="sex", positive=1, **options).to_dict()


def test_the_same_groups_stand_beside_each_other_with_their_e_values():
    documents = {"v1.json": audit(), "v2.json": audit(loss=0.06)}
    compared = compare_audits(documents)
    assert compared.releases == ("v1.json", "v2.json")
    assert [dict(g.values) for g in compared.groups] == [{}, {"sex": "Female"}, {"sex": "Male"}]
    for group in compared.groups[1:]:
        for entry, document in zip(group.releases, documents.values(), strict=True):
            expected = next(
                g
                for g in document["comparisons"]["int8"]["attributes"][0]["groups"]
                if g["values"] == group.values
            )
            flips = expected["flips"]
            assert entry.loss == expected["losses"][0]["estimate"]["value"]
            assert entry.log_e == pytest.approx(
                float(log_e_no_harm(flips["right_to_wrong"], flips["wrong_to_right"], flips["n"], 0.02))
            )
    assert compared.cleared == (True, False)
    assert compared.cleared_by_rate == (True, False)
    assert compared.log_e[0] == min(g.releases[0].log_e for g in compared.groups)
    assert json.loads(json.dumps(to_dict(compared)))["cleared"] == [True, False]


def test_later_releases_need_more_evidence():
    documents = {f"v{k}.json": audit(850) for k in range(1, 13)}
    compared = compare_audits(documents)
    needed = -np.log(release_level(np.arange(1, 13), 0.05))
    assert compared.cleared == tuple(bool(e >= c) for e, c in zip(compared.log_e, needed, strict=True))
    assert len(set(compared.log_e)) == 1


def test_the_text_has_80_columns_and_the_combined_statement():
    text = render(compare_audits({"v1.json": audit(), "v2.json": audit(loss=0.06)}))
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert (
        "95 % confidence for all 2 releases together, a loss of 2 points or more is ruled out in every"
        in flat
    )
    assert "every group of: v1.json." in flat
    assert "✖ harm" in text


def test_without_e_values_the_text_says_why():
    text = " ".join(render(compare_audits({"a": audit(), "b": audit()}, "tpr")).split())
    assert "No e-values: they need accuracy" in text
    assert "e-value " not in text


def test_a_group_that_one_release_lacks_is_shown_as_absent():
    document = audit()
    lacking = json.loads(json.dumps(document))
    del lacking["comparisons"]["int8"]["attributes"][0]["groups"][1]
    compared = compare_audits({"a": document, "b": lacking})
    assert compared.groups[2].releases[1] is None
    assert compared.groups[2].log_e_average is None
    assert "–" in render(compared)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"margin": 0.05}, "its margin is 0.05, not 0.02; audit both with the same options"),
        ({"confidence": 0.9}, "its confidence is 0.9, not 0.95"),
    ],
)
def test_audits_on_other_terms_are_refused(options, sentence):
    with pytest.raises(UserError) as error:
        compare_audits({"v1.json": audit(), "v2.json": audit(**options)})
    assert "v2.json cannot be compared with v1.json" in str(error.value)
    assert sentence in str(error.value)


def test_a_metric_that_is_not_judged_is_refused():
    with pytest.raises(UserError, match=r"v2\.json does not judge 'tpr', only accuracy"):
        compare_audits({"v1.json": audit(), "v2.json": audit(metrics="accuracy")}, "tpr")


@pytest.mark.parametrize(
    "path", [("verdict",), ("overall", "flips"), ("attributes", 0, "groups", 0, "losses")]
)
def test_a_damaged_audit_is_refused(path):
    document = json.loads(json.dumps(audit()))
    part = document["comparisons"]["int8"]
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    with pytest.raises(UserError, match="is damaged"):
        compare_audits({"v1.json": audit(), "v2.json": document})


def run(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == code


def test_the_command_compares_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, loss in (("v1.json", 0.0), ("v2.json", 0.06)):
        (tmp_path / name).write_text(json.dumps(audit(loss=loss)))
    run("compare-audits", "v1.json", "v2.json")
    assert "sex = Female" in capsys.readouterr().out
    run("compare-audits", "v1.json", "v2.json", "--json")
    assert json.loads(capsys.readouterr().out)["releases"] == ["v1.json", "v2.json"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["v1.json"], "name at least two audits"),
        (["v1.json", "v1.json"], "v1.json is named twice"),
        (["v1.json", "absent.json"], "there is no file absent.json"),
        (["v1.json", "other.json"], "other.json is not an audit"),
        (["v1.json", "broken.json"], "broken.json cannot be read"),
    ],
)
def test_wrong_files_are_one_sentence_and_exit_2(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.json").write_text(json.dumps(audit(300)))
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "broken.json").write_text('{"a": 1, "a": 2}')
    run("compare-audits", *arguments, code=2)
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_the_command_monitors_an_audit(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import pyarrow as pa
    from pyarrow import csv

    def look(rows: int, *options: str, code: int = 0) -> str:
        csv.write_csv(pa.table(table(rows)), "t.csv")
        columns = ["--baseline", "fp32", "--compressed", "int8", "--by", "sex", "--metrics", "accuracy"]
        run("audit", "t.csv", *columns, "--positive", "1", "--monitor", "ledger.json", *options, code=code)
        return " ".join(capsys.readouterr().out.split())

    shown = look(300)
    assert "release 1 of this ledger, look 1" in shown
    # The one who keeps a ledger is not advised to keep one, and learns which verdicts hold at every look.
    assert "accounts for every look" not in shown
    assert "those of the ledger ledger.json hold at any number of looks" in shown
    look(400, "--fail-on", "not-assessed", code=1)
    shown = look(4000, "--fail-on", "inconclusive")
    assert "Verified: the 400 rows of the previous look are the first rows of this table, unchanged." in shown
    assert "has judged 1 release in 3 looks" in shown
    before = (tmp_path / "ledger.json").read_bytes()
    look(4000, "--margin", "0.05", "--html", "x.html", code=2)
    assert (tmp_path / "ledger.json").read_bytes() == before
    assert not (tmp_path / "x.html").exists()
    look(4000, "--subject", "sex", code=2)
    (tmp_path / "ledger.json").write_text("notes of mine")
    look(4000, code=2)
    assert (tmp_path / "ledger.json").read_text() == "notes of mine"
