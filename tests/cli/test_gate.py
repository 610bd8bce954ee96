"""`fairpress gate` and `audit --gate`: exit codes, what is printed where, and messages in the words of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fairpress import cli

POLICY = """\
schema: fairpress.policy/1
harm: error
margins: {default: 2pp}
by: [group]
signed: {name: A. Person, date: 2025-11-02, reason: agreed}
"""
MODELS = ["--baseline", "fp32", "--compressed"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command beside a policy and a table: int8 changes nothing, int4 loses 7.5 % and gains 6.25 % in one group."""
    monkeypatch.chdir(tmp_path)
    n = 2000
    y = np.arange(2 * n) % 2
    before = np.where(np.arange(2 * n) % n < n // 5, 1 - y, y)
    after = before.copy()
    after[n // 5 : n // 5 + 150] = 1 - y[n // 5 : n // 5 + 150]
    after[:125] = y[:125]
    names = np.array(["no", "yes"])
    frame = pd.DataFrame(
        {"label": names[y], "fp32": names[before], "int8": names[before], "int4": names[after]}
    )
    frame["group"] = ["a"] * n + ["b"] * n
    frame.to_csv("t.csv", index=False)
    Path("p.yaml").write_text(POLICY, encoding="utf-8")

    def command(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments])
        message = capsys.readouterr()
        assert stop.value.code == code, message
        return message

    return command


def test_the_exit_code_is_that_of_the_gate(run):
    passed = run("gate", "t.csv", "--policy", "p.yaml", *MODELS, "int8")
    assert passed.out.startswith("gate passed: error rate against fp32, margin 2 points")
    failed = run("gate", "t.csv", "--policy", "p.yaml", *MODELS, "int8,int4", code=1)
    assert failed.out.startswith("gate failed, 1 of 2 models fail")
    assert len(failed.out.splitlines()) <= 10


def test_a_comment_is_written_and_may_be_written_again_but_nothing_else_is_overwritten(run):
    command = ("gate", "t.csv", "--policy", "p.yaml", *MODELS, "int4", "--markdown")
    run(*command, "c.md", code=1)
    assert "Written: c.md" in run(*command, "c.md", code=1).err
    assert "| int4 | ✖ failed | " in Path("c.md").read_text(encoding="utf-8")
    Path("notes.md").write_text("mine\n", encoding="utf-8")
    assert "was not written by fairpress" in run(*command, "notes.md", code=2).err
    assert "is an input of this command" in run(*command, "t.csv", code=2).err


def test_json_alone_is_printed(run):
    message = run("gate", "t.csv", "--policy", "p.yaml", *MODELS, "int4", "--json", code=1)
    assert json.loads(message.out)["models"]["int4"]["passed"] is False


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gate", "t.csv", *MODELS, "int8"], "gate needs --policy"),
        (["gate", "t.csv", "--policy", "none.yaml", *MODELS, "int8"], "there is no file none.yaml"),
        (
            ["gate", "t.csv", "--policy", "bad.yaml", *MODELS, "int8"],
            "bad.yaml:4:1: unknown key 'bye'. Did you mean 'by'?",
        ),
        (["gate", "t.csv", "--policy", "p.yaml", "--baseline", "fp32"], "name it with --compressed"),
        (["gate", "t.csv", "--policy", "p.yaml", *MODELS, "int9"], "Did you mean 'int8'?"),
        (
            ["audit", "t.csv", "--policy", "p.yaml", *MODELS, "int8", "--margin", "3pp"],
            "fixes `--margin`; leave it out",
        ),
        (
            ["audit", "t.csv", "--policy", "p.yaml", *MODELS, "int8", "--harm", "fnr"],
            "fixes `--harm`; leave it out",
        ),
        (
            ["audit", "t.csv", "--by", "group", "--baseline", "fp32", "--gate"],
            "--gate needs a compressed model",
        ),
        (
            ["audit", "t.csv", "--by", "group", *MODELS, "int8", "--margin", "2%"],
            "write 2pp for 2 percentage points",
        ),
        (
            ["audit", "t.csv", "--by", "group", *MODELS, "int8", "--margin", "0,02"],
            "decimal point: `--margin 0.02`",
        ),
        (
            ["audit", "t.csv", "--by", "group", *MODELS, "int8", "--min-rows", "few"],
            "`--min-rows` is a number of rows",
        ),
    ],
)
def test_wrong_input_is_one_sentence_with_the_remedy(run, arguments, sentence):
    Path("bad.yaml").write_text(POLICY.replace("by:", "bye:"), encoding="utf-8")
    assert sentence in run(*arguments, code=2).err


def test_an_audit_gates_with_and_without_a_policy(run):
    run(
        "audit", "t.csv", "--by", "group", *MODELS, "int4", "--fail-on", "harm"
    )  # the alarm passes what is not shown
    failed = run("audit", "t.csv", "--by", "group", *MODELS, "int4", "--gate", code=1)
    assert "gate failed: error rate against fp32" in failed.err
    assert "against fp32: ?" in failed.out
    run("audit", "t.csv", "--by", "group", *MODELS, "int4", "--gate", "--margin", "error=3pp")
    passed = run("audit", "t.csv", *MODELS, "int8", "--gate", "--policy", "p.yaml", "--json")
    assert "signed by A. Person on 2025-11-02" in passed.err
    assert json.loads(passed.out)["policy"]["date"] == "2025-11-02"


def test_a_relative_margin_and_the_rows_of_an_error_can_be_given(run):
    options = [
        "--margin",
        "1pp",
        "--margin",
        "fnr=30% of baseline",
        "--harm",
        "fnr",
        "--min-rows",
        "fnr=900",
        "--json",
    ]
    document = json.loads(run("audit", "t.csv", "--by", "group", *MODELS, "int4", *options).out)
    assert document["metrics"][0] == "tpr"
    assert document["margins"]["tpr"] == {"value": 0.3, "relative": True, "reason": ""}
    assert document["margins"]["accuracy"]["value"] == 0.01
    assert document["min_rows"]["tpr"] == 900
