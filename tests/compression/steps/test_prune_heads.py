"""Pruning of whole attention heads."""

import numpy as np
import pytest
import timm
import torch
from timm.layers import Attention

import fairpress as fp
from fairpress.compression.pruning import channels
from fairpress.core.errors import UserError
from fairpress.models import registry
from fairpress.models.timm_models import TimmNetwork
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import run
from made_dataset import make_pictures

HEADS, SIZE = 6, 16


def remove_channels(network, example, share, round_to):
    return channels.remove_channels(network, example, share, round_to).module


def transformer(**options):
    torch.manual_seed(0)
    given = {"img_size": 32, "num_classes": 2, "depth": 2, "embed_dim": HEADS * SIZE, "num_heads": HEADS}
    return timm.create_model("vit_small_patch16_224", **given | options).eval()


def heads_of(rows, before):
    """Return which heads of queries, keys and values the rows left of `qkv` were, found by their values."""
    where = [next(i for i, full in enumerate(before) if torch.isin(row, full).all()) for row in rows]
    assert where == sorted(where)
    width = HEADS * SIZE
    return [{i % width // SIZE for i in where if i // width == part} for part in range(3)]


def test_heads_of_small_weights_go_with_their_queries_keys_values_and_outputs():
    whole = transformer()
    retained = [{1, 2, 5}, {0, 3, 4}]
    with torch.no_grad():
        for block, left in zip(whole.blocks, retained, strict=True):
            for head in set(range(HEADS)) - left:
                block.attn.qkv.weight.view(3, HEADS, SIZE, -1)[:, head] *= 0.3
                block.attn.proj.weight[:, head * SIZE : (head + 1) * SIZE] *= 0.3
    pruned = remove_channels(whole, torch.randn(2, 3, 32, 32), 0.5, 8)
    for block, before, left in zip(pruned.blocks, whole.blocks, retained, strict=True):
        assert heads_of(block.attn.qkv.weight, before.attn.qkv.weight) == [left] * 3
        assert (block.attn.num_heads, block.attn.attn_dim, block.attn.head_dim) == (3, 48, SIZE)
        assert block.attn.proj.weight.shape == (48, 48)
        assert block.mlp.fc1.weight.shape == (192, 48)
    assert whole.blocks[0].attn.num_heads == HEADS


@pytest.mark.parametrize(
    ("share", "heads", "retained"), [(0.1, 6, 6), (0.5, 3, 2), (0.34, 3, 2), (0.9, 6, 1), (0.99, 2, 1)]
)
def test_as_many_heads_go_as_the_share_allows_and_one_stays(share, heads, retained):
    pruned = remove_channels(
        transformer(num_heads=heads, embed_dim=heads * SIZE), torch.randn(2, 3, 32, 32), share, 1
    )
    assert {block.attn.num_heads for block in pruned.blocks} == {retained}
    assert {block.attn.qkv.out_features for block in pruned.blocks} == {3 * retained * SIZE}


class HeadFirst(torch.nn.Module):
    """Attention of somebody's own, its classifier made first."""

    def __init__(self, attention):
        super().__init__()
        self.head = torch.nn.Linear(48, 2)
        self.stem = torch.nn.Conv2d(3, 48, 8, 8)
        self.attention = attention

    def forward(self, x):
        x = self.stem(x).flatten(2).mT
        x = (x + self.attention(x)).mean(1)
        return self.head(x)


def test_the_layer_that_answers_keeps_its_classes_wherever_it_was_made():
    network = HeadFirst(Attention(48, 3, qkv_bias=True))
    network.head.weight.requires_grad_(False)
    pruned = remove_channels(network, torch.randn(2, 3, 32, 32), 0.5, 1)
    assert pruned(torch.randn(5, 3, 32, 32)).shape == (5, 2)
    assert (pruned.attention.num_heads, pruned.attention.proj.in_features) == (2, 32)
    assert [n for n, p in pruned.named_parameters() if not p.requires_grad] == ["head.weight"]


def test_a_network_that_would_lose_classes_is_refused():
    class Measured(torch.nn.Sequential):
        def forward(self, x):
            stem, head, aside = self
            answers = head(stem(x).relu().mean((2, 3)))
            aside(x.mean((1, 2)))
            return answers

    layers = torch.nn.Conv2d(3, 16, 3), torch.nn.Linear(16, 2), torch.nn.Linear(32, 4)
    with pytest.raises(UserError, match=r"change the number of classes from 2 to 1"):
        remove_channels(Measured(*layers), torch.randn(2, 3, 32, 32), 0.5, 1)


def test_attention_that_orders_its_outputs_otherwise_is_refused():
    """A subclass may hold queries, keys and values of one head side by side."""

    class OtherAttention(Attention):
        pass

    for attention in (OtherAttention(48, 3), Attention(48, 3, qk_norm=True, norm_layer=torch.nn.LayerNorm)):
        with pytest.raises(UserError, match=r"layer 'attention' \((Other)?Attention\).*plain timm"):
            remove_channels(HeadFirst(attention), torch.randn(2, 3, 32, 32), 0.5, 1)
    scaled = Attention(48, 3, scale_norm=True, norm_layer=torch.nn.LayerNorm)
    assert remove_channels(HeadFirst(scaled), torch.randn(2, 3, 32, 32), 0.5, 1).attention.num_heads == 2


def test_heads_behind_a_gate_and_heads_of_windows_are_refused():
    with pytest.raises(UserError, match=r"'layers\.0\.blocks\.0\.attn' \(WindowAttention\).*only.*prune-50"):
        remove_channels(
            timm.create_model(
                "swin_tiny_patch4_window7_224", img_size=32, depths=(1, 1, 1, 1), window_size=1
            ),
            torch.randn(2, 3, 32, 32),
            0.5,
            8,
        )
    gated = transformer()
    gated.blocks[0].attn.gate = torch.nn.Linear(HEADS * SIZE, HEADS * SIZE)
    with pytest.raises(UserError, match=r"'blocks\.0\.attn' \(Attention\)"):
        remove_channels(gated, torch.randn(2, 3, 32, 32), 0.5, 8)


@pytest.mark.slow
def test_a_transformer_without_half_its_heads_goes_on(monkeypatch, tmp_path):
    """It is saved, made again from its card, and quantized."""

    def created(self, size, n_classes, *, pretrained):
        return transformer(img_size=tuple(size), num_classes=n_classes)

    monkeypatch.setattr(TimmNetwork, "_create", created)
    faces = make_pictures(32)
    training = {"max_epochs": 4, "way": "fp32", "learning_rate": 1e-3, "batch_size": 32}
    base = fp.train("vit_small_patch16_224", faces, training=training, device="cpu")
    once = fp.compress(base, "prune-channels-50(epochs=2)", data=faces)
    assert once.card.provenance["details"]["channels"]["heads"] == {
        "body.blocks.0.attn": 3,
        "body.blocks.1.attn": 3,
    }
    assert once.card.provenance["details"]["channels"]["whole"] == []
    again = Artifact.load(once.save(tmp_path / "pruned"))
    assert again.size < 0.4 * base.size
    channels = again.card.architecture["channels"]
    network = registry.build(registry.get("vit_small_patch16_224", channels=channels), (3, 32, 32), 2).eval()
    network.load_state_dict(from_bytes(again.weights))
    few = faces.inputs[:64]
    logits = network(torch.from_numpy(few)).detach().numpy()
    np.testing.assert_allclose(run(again.onnx, few), logits, atol=1e-3)
    small = fp.compress(again, "int8", data=faces)
    table = fp.predict({"base": base, "once": again, "small": small}, faces)
    right = {m: np.mean(np.array(table[m]) == np.array(table["label"])) for m in ("base", "once", "small")}
    assert right["base"] > 0.9
    assert right["once"] > 0.9
    assert right["small"] > right["once"] - 0.1
