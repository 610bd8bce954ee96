"""A network for images from data to model folder, and what is refused on the way."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import save_file

import fairpress as fp
from faces import make_faces
from fairpress import cli, datasets
from fairpress.core.errors import FairpressError, UserError
from fairpress.models import registry
from fairpress.models.mlp import Mlp
from fairpress.models.torchvision_models import ResNet18
from fairpress.runtime.artifact import Artifact
from fairpress.training import fit_images, training_format
from fairpress.training.config import FitConfig, ImageFitConfig, training_config
from fairpress.training.data import tensors
from fairpress.training.fit import fit
from fairpress.training.one_network import check_export
from made_dataset import make_dataset

QUICK = {"max_epochs": 3, "batch_size": 16, "way": "fp32", "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Made-up faces where utkface is looked for."""
    root = tmp_path_factory.mktemp("vision")
    make_faces(root / "data" / "utkface", 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIRPRESS_CACHE", str(root / "cache"))
        patch.setenv("FAIRPRESS_DATA", str(root / "data"))
        yield root


@pytest.fixture(scope="module")
def faces(places):
    return datasets.load("utkface", on_message=lambda _: None, size=32, test_share=0.4)


@pytest.fixture(scope="module")
def base(faces):
    output: list[str] = []
    return fp.train("resnet18", faces, seed=1, training=QUICK, device="cpu", on_message=output.append), output


def test_the_file_reads_the_pixels_of_a_phone_and_the_card_says_so(base):
    artifact, _ = base
    (read,) = onnx.load_from_string(artifact.onnx).graph.input
    assert read.type.tensor_type.elem_type == TensorProto.UINT8
    assert [d.dim_value for d in read.type.tensor_type.shape.dim][1:] == [3, 32, 32]
    assert artifact.card.inputs["shape"] == [3, 32, 32]
    assert artifact.card.inputs["dtype"] == "uint8"
    assert "centre square" in artifact.card.inputs["preparation"]
    assert artifact.card.architecture == {"name": "resnet18"}


def test_it_learns_and_its_predictions_are_a_table(base, faces, tmp_path):
    artifact, output = base
    again = Artifact.load(artifact.save(tmp_path / "base"))
    table = fp.predict({"fp32": again})  # the card names the data
    assert table.num_rows == 80
    assert np.mean(np.array(table["fp32"]) == np.array(table["label"])) > 0.9
    assert table.column_names[:5] == ["row_id", "subject", "label", "race", "age_group"]
    threads = torch.get_num_threads()
    assert output[0] == f"training on cpu with {threads} thread{'s' * (threads > 1)} in fp32"
    assert output[1].startswith("epoch 1 of 3: loss")


def test_the_card_tells_how_it_was_trained(base):
    created = base[0].card.provenance
    assert created["way"] == "fp32"
    assert created["epochs"] == len(created["curve"]) == 3
    assert created["images_per_second"] > 0
    assert created["training"]["schedule"] == "one_cycle"
    assert {"torchvision", "pillow"} <= set(created["versions"])


@pytest.mark.slow
def test_it_is_quantized_as_any_network(base, faces):
    small = fp.compress(base[0], "int8", data=faces)
    assert base[0].size / small.size > 3.8
    table = fp.predict({"fp32": base[0], "int8": small}, faces)
    assert np.mean(np.array(table["fp32"]) == np.array(table["int8"])) > 0.95


def test_a_file_that_computes_something_else_is_not_written(base, faces):
    other = registry.build(ResNet18(), (3, 32, 32), 2, seed=9).eval()
    with pytest.raises(FairpressError, match="does not reproduce the network"):
        check_export(base[0].onnx, other, tensors(faces, "validation").inputs[:32], torch.device("cpu"))


def test_networks_for_tables_and_images_do_not_mix(faces):
    with pytest.raises(UserError, match="mlp reads tables and 'utkface' is images; take convnext_tiny"):
        fit(Mlp(), [faces], [0])
    with pytest.raises(UserError, match="resnet18 reads images and 'made' is a table; take mlp"):
        fit(ResNet18(), [make_dataset()], [0])
    one = dataclasses.replace(faces, labels=np.zeros_like(faces.labels))
    with pytest.raises(UserError, match="one class"):
        fit(ResNet18(), [one], [0])


def test_training_options_are_those_of_the_architecture(places):
    assert isinstance(training_config(ResNet18()), ImageFitConfig)
    assert type(training_config(Mlp())) is FitConfig
    with pytest.raises(TypeError, match="training_config makes it"):
        fit(ResNet18(), [datasets.load("utkface", on_message=lambda _: None, size=16)], [0], FitConfig())
    with pytest.raises(UserError, match="unknown key 'flip'"):
        training_config(Mlp(), {"flip": True})
    with pytest.raises(UserError, match="Did you mean 'shift'"):
        training_config(ResNet18(), {"shfit": 0.1})


STUDY = """\
dataset: {name: utkface, size: 16}
model: resnet18
training: {max_epochs: 1, flip: false}
recipes: [int8]
audit: {by: [race]}
"""


def test_a_study_takes_the_training_options_of_its_networks(places, tmp_path, capsys):
    file = tmp_path / "faces.yaml"
    for text, code in (
        (STUDY, 0),
        (STUDY.replace("{name: utkface, size: 16}\nmodel: resnet18", "adult\nmodel: mlp"), 2),
    ):
        file.write_text(text)
        with pytest.raises(SystemExit) as stop:
            cli.main(["study", "check", str(file)])
        assert stop.value.code == code
    assert "unknown key 'training.flip'" in capsys.readouterr().err


@pytest.mark.parametrize(("keep", "patience"), [("best", 6), ("last", None)])
def test_without_early_stopping_every_epoch_is_taken(faces, monkeypatch, keep, patience):
    class Asked(Exception):
        pass

    def train(*_, patience, **__):
        raise Asked(patience)

    monkeypatch.setattr(fit_images, "train_module", train)
    with pytest.raises(Asked) as requested:
        fp.train("resnet18", faces, training={**QUICK, "keep": keep}, device="cpu")
    assert requested.value.args == (patience,)


def test_training_can_start_from_weights_with_another_last_layer(tmp_path):
    donor = registry.build(ResNet18(), (3, 32, 32), 7, seed=4)
    state = {k.removeprefix("body."): v for k, v in donor.state_dict().items() if k.startswith("body.")}
    save_file(state, tmp_path / "imagenet.safetensors")
    architecture = registry.get("resnet18", weights=str(tmp_path / "imagenet.safetensors"))
    network = registry.build(architecture, (3, 32, 32), 2, seed=0)
    reported = architecture.start(network)
    assert torch.equal(network.body.conv1.weight, donor.body.conv1.weight)
    assert network.body.fc.weight.shape == (2, 512)
    assert reported["drawn_anew"] == ["fc.bias", "fc.weight"]
    save_file(dict(donor.state_dict()), tmp_path / "model.safetensors")  # as a model folder has it
    registry.get("resnet18", weights=str(tmp_path / "model.safetensors")).start(network)
    assert "weights" not in architecture.model_dump()  # a card that can be opened where the file is not
    del state["layer1.0.conv1.weight"]
    save_file(state, tmp_path / "part.safetensors")
    for file, sentence in (
        ("part", "does not contain weights of resnet18: 'layer1.0.conv1.weight'"),
        ("absent", "cannot read"),
    ):
        with pytest.raises(UserError, match=sentence):
            registry.get("resnet18", weights=str(tmp_path / f"{file}.safetensors")).start(network)
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x02")
    with pytest.raises(UserError, match="pickles are refused"):
        registry.get("resnet18", weights=str(tmp_path / "pickle.pt")).start(network)


ARGUMENTS = [
    "train",
    "resnet18",
    "--data",
    "utkface",
    "--target",
    "sex",
    "--image-size",
    "16",
    "--batch-size",
    "16",
]


def test_what_a_user_types(places, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*ARGUMENTS, "--by", "race,age", "--epochs", "1", "--out", str(tmp_path / "base")])
    assert stop.value.code == 0
    shown = capsys.readouterr()
    assert "in fp32-channels-last\n" in shown.err
    assert "1 epoch, accuracy on validation rows" in " ".join(shown.out.split())
    for group in ("everybody", "race = White", "age_group = 0-17"):
        assert group in shown.out
    assert [p.name for p in tmp_path.iterdir()] == ["base"]
    card = json.loads((tmp_path / "base" / "card.json").read_text())
    assert card["provenance"]["way"] == "fp32-channels-last"
    assert card["provenance"]["images_per_second_tried"] == {}


def test_speed_decides_on_request_alone(places, tmp_path, capsys):
    arguments = ["--epochs", "1", "--precision", "fastest", "--threads", "1", "--out", str(tmp_path / "base")]
    with pytest.raises(SystemExit) as stop:
        cli.main([*ARGUMENTS, *arguments])
    assert stop.value.code == 0
    assert "with 1 thread in " in (shown := capsys.readouterr().err)
    assert "tried, images/s: fp32" in shown
    facts = json.loads((tmp_path / "base" / "card.json").read_text())["provenance"]
    assert facts["way"] in facts["images_per_second_tried"]
    assert facts["threads"] == 1


def test_without_a_request_nothing_is_timed(faces, monkeypatch):
    def timed(*_):
        raise AssertionError("the precision was chosen by timing")

    monkeypatch.setattr(training_format, "fastest", timed)
    options = {"max_epochs": 1, "batch_size": 16}
    one = fp.train("resnet18", faces, seed=1, training=options, device="cpu", threads=1)
    named = {**options, "way": "fp32-channels-last"}
    other = fp.train("resnet18", faces, seed=1, training=named, device="cpu", threads=1)
    assert one.weights == other.weights


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--by", "sex"], "sex is the target"),
        (["--by", "rase"], "Did you mean 'race'"),
        (["--target", "hair"], "target"),
        (["--epochs", "0"], "max_epochs"),
        (["--test-share", "1"], "test_share"),
        (["--weights", "absent.safetensors"], "cannot read the weights"),
        (["--device", "tpu9"], "device 'tpu9' does not work here"),
        (["--threads", "0"], "`--threads 0` is too small; use at least 1"),
        (["--threads", "5000"], "use at most 1,024"),
        (["--precision", "int8"], "--precision"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(places, tmp_path, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as stop:
        cli.main([*ARGUMENTS, "--out", str(tmp_path / "base"), *arguments])
    assert stop.value.code == 2
    output = capsys.readouterr().err
    assert sentence in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_model_is_refused_before_an_hour_of_training(places, tmp_path, capsys):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "thesis.tex").write_text("precious")
    with pytest.raises(SystemExit):
        cli.main([*ARGUMENTS, "--out", str(tmp_path / "base")])
    output = capsys.readouterr().err
    assert "contains files that fairpress did not write" in output
    assert "epoch" not in output


@pytest.mark.slow
def test_after_kill_9_the_same_command_goes_on(places, tmp_path, capsys):
    command = [str(Path(sys.executable).with_name("fairpress")), *ARGUMENTS, "--epochs", "4", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    checkpoint = tmp_path / ".base.training" / "0" / "epoch.safetensors"
    with subprocess.Popen(
        [*command, str(tmp_path / "base")], env=environment, stderr=subprocess.PIPE
    ) as first:
        while not checkpoint.exists() and first.poll() is None:
            time.sleep(0.02)
        time.sleep(0.3)
        assert first.poll() is None
        first.send_signal(signal.SIGKILL)
    assert not (tmp_path / "base").exists()
    with pytest.raises(SystemExit) as stop:
        cli.main([*command[1:], str(tmp_path / "base")])
    errors = capsys.readouterr().err
    assert stop.value.code == 0, errors
    assert "resuming after epoch" in errors
    assert [p.name for p in tmp_path.iterdir()] == ["base"]
    resumed = Artifact.load(tmp_path / "base")
    assert resumed.card.provenance["resumed_after"] >= 1
    assert resumed.card.provenance["epochs"] == len(resumed.card.provenance["curve"])


def test_a_checkpoint_is_the_training_taken_again_and_known_to_be_the_same_by_its_losses(base, faces):
    artifact, _ = base
    best = artifact.card.provenance["best_epoch"]
    output: list[str] = []
    again = fp.compress(artifact, f"checkpoint-{best}", data=faces, on_message=output.append)
    assert again.weights == artifact.weights
    assert output[-1] == f"repeated {best} of the baseline's epochs exactly"
    assert again.card.provenance["details"]["epochs_trained"] == best


@pytest.mark.parametrize(
    ("recipe", "changed", "sentence"),
    [
        ("checkpoint-1", {"curve": [[0.5, 0.5, 0.5]]}, "the loss of epoch 1 is .* and was 0.5"),
        ("checkpoint-4", {}, "no checkpoint after 4 epochs: the baseline trained for 3"),
        ("checkpoint(epochs=0.5)", {}, "after whole epochs only, not after 0.5"),
        (
            "checkpoint-1",
            {"started_from": {"file": "imagenet.safetensors"}},
            r"weights \(imagenet.safetensors\)",
        ),
        ("checkpoint-1", {"training": {}}, "trained in another way"),
    ],
)
def test_a_training_that_does_not_repeat_itself_has_no_checkpoints(base, faces, recipe, changed, sentence):
    artifact, _ = base
    card = dataclasses.replace(artifact.card, provenance={**artifact.card.provenance, **changed})
    with pytest.raises(UserError, match=sentence):
        fp.compress(dataclasses.replace(artifact, card=card), recipe, data=faces)
