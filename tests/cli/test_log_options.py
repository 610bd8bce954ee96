"""`fairpress audit` with logs in place of a table."""

from __future__ import annotations

import json

import pytest

from evaluation_logs import two_models
from fairpress.cli import main


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_models(tmp_path, ["qa_am", "qa_sw"], items=60)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["audit", *arguments])
        printed = capsys.readouterr()
        return stop.value.code, printed.out, printed.err

    return run


LOGS = ("--lm-eval", "base=base", "q4=q4")


def test_logs_take_the_place_of_a_table(run, tmp_path):
    code, out, _ = run(*LOGS, "--by", "language,category", "--html", "audit.html")
    assert code == 0
    assert out.startswith("120 rows, 4 groups; error rate decides")
    assert "q4 against base:" in out
    assert "Languages are the last part" in " ".join(out.split())
    page = (tmp_path / "audit.html").read_text()
    assert "Audit of q4 against base" in page
    assert "What is number" not in page


def test_options_may_come_before_the_logs_and_name_another_baseline(run):
    code, out, _ = run("--by", "task", "--json", "--baseline", "q4", *LOGS)
    document = json.loads(out)
    assert code == 0
    assert (document["baseline"], list(document["comparisons"])) == ("q4", ["base"])
    assert document["provenance"]["logs"] == "base=base, q4=q4"


def test_fields_that_options_name_are_read(run):
    code, out, _ = run(*LOGS, "--by", "doc.category", "--subject", "answer")
    assert code == 0
    assert "people ('answer')" in out


def test_messages_name_options(run, tmp_path):
    (file,) = (tmp_path / "q4").rglob("samples_qa_am_*")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    code, _, err = run(*LOGS, "--by", "language")
    assert code == 2
    assert "1 is missing from q4 (qa_am/0)" in err
    assert "`--drop-unpaired`" in err
    code, out, err = run(
        *LOGS, "--by", "language", "--drop-unpaired", "--export-cells", "cells.parquet", "--json"
    )
    assert code == 0
    assert json.loads(out)["warnings"][0].startswith("1 of 120 items are left out")
    code, _, err = run(*LOGS, "--by", "language", "--log-metric", "acd")
    assert (code, "Did you mean 'acc'" in err) == (2, True)
    code, _, err = run(*LOGS, "--by", "langage", "--drop-unpaired")
    assert (code, "Did you mean 'language'" in err) == (2, True)


def test_no_output_takes_the_place_of_a_log(run, tmp_path):
    (file,) = (tmp_path / "q4").rglob("samples_qa_am_*")
    before = file.read_bytes()
    code, _, err = run(*LOGS, "--by", "language", "--html", str(file), "--force")
    assert (code, file.read_bytes()) == (2, before)
    assert str(file) in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--by", "sex"), "audit needs TABLE"),
        (("t.csv", *LOGS, "--by", "sex"), "audit one thing at a time: --lm-eval and a table"),
        ((*LOGS, "--inspect", "a=b", "--by", "sex"), "one thing at a time: --lm-eval and --inspect"),
        (("--lm-eval", "base", "--by", "sex"), "write name=path for each model, such as base=base"),
        (("--lm-eval", "a=b", "a=c", "--by", "sex"), "two models have the name 'a'"),
        (("t.csv", "--key", "id", "--by", "sex"), "--key goes with --pair-files"),
        ((*LOGS, "--key", "id", "--by", "sex"), "--key goes with --pair-files"),
        (
            ("--pair-files", "a=b", "--by", "sex"),
            "name the column that identifies a row in every file with --key",
        ),
        ((*LOGS, "--by", "task", "--same", "prompts"), "`--same` has no 'prompts'. Did you mean 'prompt'"),
        ((*LOGS, "--by", "task", "--tasks", "qa_x"), "no samples of the task 'qa_x'"),
        ((*LOGS,), "name the sensitive attributes with --by"),
    ],
)
def test_what_does_not_go_together_is_refused(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_files_are_paired_by_a_key(run, tmp_path):
    for name, wrong in (("a", 5), ("b", 9)):
        lines = [
            {
                "id": i,
                "y": "no",
                "pred": "yes" if i % 40 < wrong else "no",
                "ok": int(i % 40 >= wrong),
                "g": "xy"[i % 2],
            }
            for i in range(80)
        ]
        for line in lines[::3]:
            line["y"], line["pred"] = line["pred"], line["y"]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    files = ("--pair-files", "base=a.jsonl", "q4=b.jsonl", "--key", "id", "--by", "g", "--json")
    code, out, _ = run(*files, "--correct", "ok")
    assert code == 0
    rates = [m["overall"]["rates"]["accuracy"]["value"] for m in json.loads(out)["models"].values()]
    assert rates == [pytest.approx(0.875), pytest.approx(0.775)]
    code, _, err = run(*files, "--label", "y", "--prediction", "pred")
    assert (code, "have other labels" in err) == (2, True)
