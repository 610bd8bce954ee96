"""What `fairpress compress` says of the file it made: another rounding, and a file that learned nothing."""

from __future__ import annotations

import json
import re

import pytest

import fairpress as fp
from fairpress import api
from fairpress.cli import main
from fairpress.compression import apply
from fairpress.compression.recipes import parse
from small_model import write_table

HINT = "rounding=gptq changed about half as many predictions"


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A folder with a table of two classes, and a network for it."""
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path)
    made = fp.train("mlp", "t.yaml", training={"max_epochs": 1})
    return made.save(tmp_path / "base")


def compress(recipe: str, out: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["compress", "base", "--recipe", recipe, "--out", out])
    assert not exit_.value.code


@pytest.mark.parametrize(
    ("recipe", "other"),
    [
        ("int4", "int4(rounding=gptq)"),
        ("w3", "w3(rounding=gptq)"),
        ("int8(bits=first:4)", "int8(rounding=gptq,bits=first:4)"),
        ("int4(bits=first:8|last:8)", "int4(rounding=gptq,bits=first:8|last:8)"),
        ("prune-50+int2", "prune-50+int2(rounding=gptq)"),
        ("mixed(budget=4KB)", "mixed(rounding=gptq,budget=4000)"),
        ("int4(rounding=gptq)", None),
        ("int4(rounding=brecq)", None),
        ("int8", None),
        ("w8", None),
        ("qat-int4", None),
        ("prune-50", None),
        ("fp32", None),
    ],
)
def test_what_rounds_to_nearest_below_8_bits_has_a_compensated_counterpart(recipe, other):
    found = parse(recipe).compensated()
    assert (None if found is None else str(found)) == other


def test_rounding_to_nearest_below_8_bits_names_the_other_rounding_in_a_command_that_works(base, capsys):
    compress("int4", "small")
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count(HINT) == 1
    assert "docs/rounding.md" in printed
    match = re.search(r"--recipe '(.+?)'", printed)
    assert match
    compress(match[1], "other")
    assert HINT not in " ".join(capsys.readouterr().out.split())
    small, other = (json.loads((base.parent / n / "card.json").read_text()) for n in ("small", "other"))
    assert small["recipe"] == "int4"
    assert other["recipe"] == "int4(rounding=gptq)"


def test_a_file_that_has_lost_what_its_baseline_learned_is_warned_of_and_shown_with_the_warning(base, capsys):
    warning = "for all 105 validation rows: it has lost what its baseline had learned"
    compress("prune-99(epochs=1,learning_rate=1e-9)", "small")
    said = capsys.readouterr()
    assert said.err.count(warning) == 1
    card = json.loads((base.parent / "small" / "card.json").read_text())
    (sentence,) = card["provenance"]["warnings"]
    assert warning in sentence
    table = fp.predict({"m": "small"}, "t.yaml", part="validation")
    assert len(set(table["m"].to_pylist())) == 1
    with pytest.raises(SystemExit):
        main(["show", "small"])
    assert f"warning: {sentence}" in capsys.readouterr().out


def test_a_file_that_answers_as_its_baseline_is_not_warned_of(base, capsys):
    compress("int8", "small")
    assert "warning" not in capsys.readouterr().err
    assert "warnings" not in json.loads((base.parent / "small" / "card.json").read_text())["provenance"]


def test_a_truncated_file_is_named_before_any_work(base, capsys, monkeypatch):
    file = base / "model.onnx"
    file.write_bytes(file.read_bytes()[:200])
    monkeypatch.setattr(api.models, "load_dataset", None)
    monkeypatch.setattr(apply, "apply_steps", None)  # work would fail otherwise
    with pytest.raises(SystemExit) as exit_:
        main(["compress", "base", "--recipe", "int8", "--out", "small"])
    assert exit_.value.code == 2
    assert (
        "base/model.onnx is not an ONNX file, or it is truncated; copy the whole folder"
        in capsys.readouterr().err
    )
    assert not (base.parent / "small").exists()


def test_threads_are_not_for_files(base, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                "compress",
                "base/model.onnx",
                "--recipe",
                "int8",
                "--data",
                "t.yaml",
                "--out",
                "s.onnx",
                "--threads",
                "1",
            ]
        )
    assert exit_.value.code == 2
    assert "--threads is for model folders" in capsys.readouterr().err
