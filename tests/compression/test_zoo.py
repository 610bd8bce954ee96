"""The networks of `benchmarks/zoo.py`: no file with floats that nothing names, no error without a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from zoo import networks
from zoo_of_networks.measure import measure

# One of each kind; the benchmark takes all.
KINDS = {
    "LSTM over token ids": ("int8", "int8-dynamic", "w4"),
    "GRU, two layers, both directions": ("int8", "w8"),
    "LSTMCell in a loop": ("int8", "int8-dynamic"),
    "two inputs": ("int8", "w4"),
    "shared layer": ("int8", "int8-dynamic"),
    "tied embedding": ("int8", "w4"),
    "transposed convolution": ("int8", "int4"),
    "Conv1d": ("int8", "w8"),
    "Conv3d": ("int8", "w8"),
    "depthwise, GroupNorm, PReLU": ("int8", "fp32"),
    "weight_norm": ("int8", "w4"),
    "spectral_norm": ("int8",),
    "parameter, einsum": ("int8", "int8-dynamic"),
    "parameter, computed": ("int8", "w8"),
    "EmbeddingBag, mean": ("int8", "w4"),
    "MultiheadAttention": ("int8", "int8-dynamic"),
    "TransformerEncoder": ("int8", "int4"),
    "Bilinear": ("int8",),
    "one logit": ("int8", "fp32"),
    "transformers Albert": ("int8", "int8-dynamic"),
    "transformers DebertaV2": ("int8",),
    "transformers GPT2": ("int8", "w4"),
    "transformers SqueezeBert": ("int8",),
    "torchvision resnet with basic blocks": ("int8",),
    "torchvision mobilenet_v3": ("int8",),
    "timm convnext_atto": ("int8", "fp32"),
    "timm deit_tiny_patch16_224": ("int8",),
}
FEWEST_EQUAL = {"fp32": 1.0, "int8": 0.88, "int8-dynamic": 0.88, "w8": 0.9, "w4": 0.5, "int4": 0.5}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "recipe"), [(name, r) for name, recipes in KINDS.items() for r in recipes])
def test_what_is_in_float_is_named(name, recipe):
    pytest.importorskip("transformers" if name.startswith("transformers") else "timm")
    build, inputs = networks()[name]
    measured = measure(name, recipe, build, inputs)
    assert measured.answer == "file", measured.said
    assert measured.card
    assert measured.agree >= FEWEST_EQUAL[recipe]
    if recipe == "fp32":
        assert set(measured.share) == {32}
        assert measured.difference < 1e-4
        return
    assert measured.share[32] < 0.15 or "stay in float, in '" in measured.said
