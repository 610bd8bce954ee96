"""What a GPU would compute: no tensor is created on the wrong device, and the results are those of the CPU.

The device of these tests, `pretend_device`, refuses to compute with tensors of two devices, as a GPU does.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import fairpress as fp
from faces import make_faces
from fairpress import datasets
from fairpress.compression.quantization import calibrate
from fairpress.compression.quantization.batch_quantizer import make_quantizer
from fairpress.compression.quantization.gradient_sensitivity import channel_sensitivities
from fairpress.compression.quantization.sensitivity import rounded
from fairpress.models.mlp import Mlp
from fairpress.training.config import FitConfig
from fairpress.training.device import device_like
from fairpress.training.fit import fit
from made_dataset import make_dataset
from pretend_device import NAME, PretendDevice
from trained import SMALL, easy, parts

QUICK = {"max_epochs": 1, "batch_size": 16, "way": "fp32", "learning_rate": 3e-3}


def test_tensors_of_two_devices_are_refused():
    with PretendDevice():
        there = torch.ones(3, device=NAME)
        assert there.device.type == NAME
        assert (there + 1).cpu().tolist() == [2.0, 2.0, 2.0]
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="on the CPU by indices"):
            torch.ones(3)[torch.zeros(1, dtype=torch.long, device=NAME)]


def test_networks_of_tables_train_there_as_on_the_cpu():
    data = [make_dataset(fold=fold).development() for fold in (0, 1)]
    config = FitConfig(max_epochs=2, batch_size=64)
    here = fit(Mlp(widths=(8,)), data, [3, 4], config)
    with PretendDevice() as device:
        there = fit(Mlp(widths=(8,)), data, [3, 4], config, device=NAME)
    assert device.operations > 100
    assert [a.onnx for a in there] == [a.onnx for a in here]


def test_sensitivities_are_computed_where_the_weights_are():
    states, rows = parts(*easy())
    engine = make_quantizer(SMALL, (4,), torch.float32, 2)
    state = engine.fold(states[0])
    layers = [name.removesuffix(".weight") for name, value in state.items() if value.dim() == 2]
    changes = {n: rounded(state[f"{n}.weight"], 4) - state[f"{n}.weight"] for n in layers}
    here = channel_sensitivities(engine.folded, state, changes, rows[0])
    with PretendDevice() as device:
        moved = {name: value.to(NAME) for name, value in state.items()}
        there = channel_sensitivities(engine.folded, moved, changes, rows[0])
    assert device.operations > 10
    for layer, values in here.items():
        torch.testing.assert_close(there[layer], values, rtol=0, atol=0)


@pytest.mark.parametrize("recipe", ["int8", "int4(preserve=0.3)", "mixed(budget=1500,sensitivity=gradient)"])
def test_ranges_and_sensitivities_are_computed_where_a_network_was_trained(recipe, monkeypatch):
    # On a processor ONNX Runtime observes activations, with the same ranges up to rounding.
    monkeypatch.setattr(calibrate, "observe", lambda *_: None)
    data = make_dataset()
    (trained,) = fit(Mlp(widths=(8,)), [data.development()], [3], FitConfig(max_epochs=2, batch_size=64))
    here = fp.compress(trained, recipe, data=data)
    there = replace(
        trained, card=replace(trained.card, provenance={**trained.card.provenance, "device": NAME})
    )
    with PretendDevice() as device:
        made = fp.compress(there, recipe, data=data)
    assert device.operations > 10
    assert made.onnx == here.onnx


def test_a_network_from_a_device_that_is_not_here_is_quantized_on_the_processor():
    assert device_like({"device": "cuda:7"}).type == "cpu"
    assert device_like({}).type == "cpu"


@pytest.mark.slow
def test_networks_of_images_train_and_are_compressed_there_as_on_the_cpu(tmp_path, monkeypatch):
    make_faces(tmp_path / "data" / "utkface", 120)
    monkeypatch.setenv("FAIRPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAIRPRESS_DATA", str(tmp_path / "data"))
    faces = datasets.load("utkface", on_message=lambda _: None, size=32, test_share=0.4)

    def trained(device: str):
        return fp.train("resnet18", faces, seed=1, training=QUICK, device=device, on_message=lambda _: None)

    here = trained("cpu")
    with pytest.warns(UserWarning, match="no-op"), PretendDevice():
        # What PyTorch says of every tensor on this device; the copies are made.
        there = trained(NAME)
    assert there.onnx == here.onnx
    for recipe in ("qat-int8(epochs=1)", "prune-channels-50"):
        expected = fp.compress(here, recipe, data=faces)
        with PretendDevice() as device:
            made = fp.compress(there, recipe, data=faces)
        assert device.operations > 100, recipe
        assert made.onnx == expected.onnx, recipe
