"""Messages of the library in the words of the command line, and the table of exit codes."""

from __future__ import annotations

import importlib

import pytest

from fairpress import cli
from fairpress.cli import exit_codes
from fairpress.cli.commands import register
from fairpress.cli.usage_errors import OPTIONS, in_options
from fairpress.core.errors import UserError

NAMES = {
    "--by",
    "--compressed",
    "--seed-column",
    "--force",
    "--train",
    "--no-train",
    "--pair",
    "--bins",
    "--data",
    "MODELS",
}


@pytest.mark.parametrize(
    ("python", "command_line"),
    [
        ("`by=`", "`--by`"),
        ("`data=…`", "`--data …`"),
        ("`compressed='int8'`", "`--compressed int8`"),
        ("`compressed=['int8', 'int4']`", "`--compressed int8,int4`"),
        ("`by='sex*race'`", "`--by 'sex*race'`"),
        ("`bins={'age': [25, 45]}`", "`--bins age=25,45`"),
        ("`seed_column='seed'`", "`--seed-column seed`"),
        ("`force=True`", "`--force`"),
        ("`train=False`", "`--no-train`"),
        ("`pairs=['sex=Female|Male']`", "`--pair 'sex=Female|Male'`"),
        ("`models=`", "`MODELS`"),
        ("`models={'fp32': 'base/', 'int8': 'int8/'}`", "`fp32=base/ int8=int8/`"),
        ("set `by=` and `force=True`.", "set `--by` and `--force`."),
    ],
)
def test_parameters_become_options(python, command_line):
    assert in_options(python, NAMES) == command_line


@pytest.mark.parametrize(
    "text",
    [
        "`margin=`",  # not an option of this command
        "`by=race`",  # an option of a recipe: not a Python value
        "`by=[`",
        "`force=False`",  # there is no --no-force
        "`by=None`",
        "by='sex'",
        "`fairpress audit by=`",
        "'`by`'",
    ],
)
def test_other_text_stays(text):
    assert in_options(text, NAMES) == text


def test_the_table_names_options_that_exist():
    register()  # otherwise a command is registered where it is run
    commands = ("audit", "train", "search")
    present = {name for command in commands for name in cli._options([command])}
    assert set(OPTIONS.values()) <= present
    assert not {f"--{name.replace('_', '-')}" for name in OPTIONS} & present


def test_the_command_line_prints_options(capsys, monkeypatch):
    def refuse(*_, **__):
        raise UserError("name the attributes with `by=`, such as `by=['sex', 'race']`; see `other=`.")

    importlib.import_module("fairpress.auditing.audit_table")  # must not bind what is patched
    monkeypatch.setattr("fairpress.auditing.cells.open_source.open_source", refuse)
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit", "absent.csv", "--baseline", "a", "--by", "sex"])
    assert stop.value.code == exit_codes.BAD_INPUT
    error = capsys.readouterr().err
    assert error == "fairpress: name the attributes with `--by`, such as `--by sex,race`; see `other=`.\n"


def test_help_lists_every_exit_code(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == exit_codes.SUCCESS
    shown = " ".join(capsys.readouterr().out.split())
    for code, meaning in exit_codes.EXIT_CODES.items():
        assert f"{code} {meaning}" in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["auditt"], "there is no command 'auditt'. Did you mean 'audit'?"),
        (["study", "rum", "compas"], "there is no command 'study rum'. Did you mean 'run'?"),
        (["search", "m", "--by", "sex", "--out", "x"], "set at least one of --max-group-loss, --max-loss,"),
        (
            ["search", "m", "--by", "sex", "--out", "x", "--max-group-loss", "2"],
            "--max-group-loss must be between 0 and 1, not 2; for 2 percentage points write 0.02.",
        ),
        (
            ["search", "m", "--by", "sex", "--out", "x", "--max-loss", "0"],
            "--max-loss must be between 0 and 1, not 0, such as 0.02.",
        ),
        (["search", "m", "--by", "sex", "--out", "x", "--max-bytes", "9"], "no limit is set on any group"),
        (
            ["compress", "t.csv", "--recipe", "int8", "--out", "x"],
            "t.csv is not a model; name a model folder",
        ),
    ],
)
def test_a_wrong_command_line_ends_in_the_words_of_the_command_line(
    arguments, sentence, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert "constraints" not in message
    assert not (tmp_path / "x").exists()
