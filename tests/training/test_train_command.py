"""`fairpress train`: what it refuses before the work, and what it says about a network that learned nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fairpress.cli import main


@pytest.fixture
def people(tmp_path, monkeypatch):
    """A folder with a table in which nothing says who is positive, and one in ten is."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["a,b,sex,y"]
    for i in range(400):
        a, b = rng.normal(size=2).round(3)
        lines.append(f"{a},{b},{'FM'[i % 2]},{'yes' if rng.random() < 0.1 else 'no'}")
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "people.yaml").write_text(
        "path: people.csv\nlabel: y\npositive: yes\nfeatures: [a, b]\nsensitive: [sex]\n"
    )
    return tmp_path


def train(*arguments, code=0):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "mlp", "--data", "people.yaml", "--epochs", "1", *arguments])
    assert (exit_.value.code or 0) == code


def test_a_network_that_beats_no_constant_answer_is_warned_of_and_shown_with_the_warning(people, capsys):
    train("--out", "base")
    output = capsys.readouterr()
    assert "does not beat always predicting 'no'" in output.err
    assert "the base rate" in output.err
    assert "(always no: 0." in output.out
    with pytest.raises(SystemExit):
        main(["show", "base"])
    assert "warning: accuracy on validation rows" in capsys.readouterr().out
    for arguments in (["compress", "base", "--recipe", "int8", "--out", "int8"], ["show", "int8"]):
        with pytest.raises(SystemExit):
            main(arguments)
    assert "warning: accuracy on validation rows" in capsys.readouterr().out


def test_class_weights_are_on_the_card_and_what_they_cost_is_said(people, capsys):
    train("--out", "balanced", "--class-weights", "balanced")
    assert "scores are not calibrated to the base rate" in capsys.readouterr().out
    origin = json.loads((people / "balanced" / "card.json").read_text())["provenance"]
    assert origin["training"]["class_weights"] == "balanced"
    assert origin["class_weights"]["yes"] > 5 * origin["class_weights"]["no"]
    train("--out", "named", "--class-weights", "no=1,yes=4")
    origin = json.loads((people / "named" / "card.json").read_text())["provenance"]
    assert origin["class_weights"]["yes"] == pytest.approx(4 * origin["class_weights"]["no"])


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("balancd", "'balancd' is neither balanced nor a weight for each class"),
        ("yes=many", "'many' is not a number; write balanced"),
        ("yse=2", "'yse' is not a class of 'y'. Did you mean 'yes'?"),
        ("yes=0", "greater than 0"),
    ],
)
def test_wrong_class_weights_are_refused_and_nothing_is_written(value, sentence, people, capsys):
    train("--out", "base", "--class-weights", value, code=2)
    assert sentence in capsys.readouterr().err
    assert not (people / "base").exists()


def test_a_model_folder_is_replaced_only_with_force_and_refused_before_the_work(people, capsys, monkeypatch):
    train("--out", "base")
    before = (people / "base" / "model.onnx").read_bytes()

    def no_training(*arguments, **options):
        raise AssertionError("it trained before it looked at --out")

    with monkeypatch.context() as patched:
        patched.setattr("fairpress.training.fit.fit", no_training)
        train("--out", "base", "--seed", "1", code=2)
    assert "base exists; add `--force`" in capsys.readouterr().err
    assert (people / "base" / "model.onnx").read_bytes() == before
    train("--out", "base", "--seed", "1", "--force")
    assert (people / "base" / "model.onnx").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--threads", "0"), "`--threads 0` is too small; use at least 1"),
        (("--precision", "bf16"), "networks for tables train in fp32: leave it out"),
    ],
)
def test_threads_and_precision_are_checked_before_the_data_are_read(people, capsys, arguments, sentence):
    (people / "people.csv").unlink()
    train("--out", "base", *arguments, code=2)
    assert sentence in capsys.readouterr().err


def test_the_threads_are_on_the_card(people):
    train("--out", "base", "--threads", "1")
    assert json.loads((people / "base" / "card.json").read_text())["provenance"]["threads"] == 1
    for arguments, code in ((["--threads", "1"], 0), (["--threads", "-1", "--force"], 2)):
        with pytest.raises(SystemExit) as stop:
            main(["compress", "base", "--recipe", "int8", "--out", "int8", *arguments])
        assert (stop.value.code or 0) == code
    assert json.loads((people / "int8" / "card.json").read_text())["provenance"]["threads"] == 1
