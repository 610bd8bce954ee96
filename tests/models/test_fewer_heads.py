"""Multi-head attention with fewer heads than torch's own can have."""

import copy

import pytest
import torch
from torch import nn

from fairpress.models.fewer_heads import FewerHeads
from fairpress.models.pruned_shapes import apply_pruned_shapes

WIDTH, HEADS, SIZE = 24, 4, 6


def attention(**options):
    torch.manual_seed(0)
    part = nn.MultiheadAttention(WIDTH, HEADS, **options).eval()
    if part.in_proj_bias is not None:
        nn.init.normal_(part.in_proj_bias)
    return part


def without_heads(part, left):
    """Return attention with these heads only, and torch's with the outputs of the others read as zero."""
    rows = torch.cat([torch.arange(SIZE) + SIZE * head for head in left])
    every = torch.cat([rows + WIDTH * i for i in range(3)])
    state = part.state_dict()
    smaller = {**state, "in_proj_weight": state["in_proj_weight"][every]}
    if "in_proj_bias" in state:
        smaller["in_proj_bias"] = state["in_proj_bias"][every]
    smaller["out_proj.weight"] = state["out_proj.weight"][:, rows]
    pruned, zeroed = copy.deepcopy(part), copy.deepcopy(part)
    apply_pruned_shapes(pruned, {n: tuple(v.shape) for n, v in smaller.items() if v.shape != state[n].shape})
    pruned.load_state_dict(smaller)
    gone = [i for i in range(WIDTH) if i not in rows.tolist()]
    with torch.no_grad():
        zeroed.out_proj.weight[:, gone] = 0
    return pruned, zeroed


MASKS = {
    "none": {},
    "causal": {"attn_mask": nn.Transformer.generate_square_subsequent_mask(5), "is_causal": True},
    "bool": {"attn_mask": torch.eye(5, dtype=torch.bool)},
    "padding": {
        "key_padding_mask": torch.tensor([[False] * 4 + [True], [False] * 5, [False, True] + [False] * 3])
    },
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", [{"batch_first": True}, {}, {"batch_first": True, "bias": False}])
def test_it_answers_as_torchs_attention_with_the_other_heads_at_zero(options, mask):
    pruned, zeroed = without_heads(attention(**options), [0, 2])
    assert isinstance(pruned, FewerHeads)
    assert (pruned.num_heads, pruned.head_dim, pruned.out_proj.in_features) == (2, SIZE, 2 * SIZE)
    x = torch.randn(3, 5, WIDTH)
    x = x if options.get("batch_first") else x.transpose(0, 1)
    left, right = (net(x, x, x, need_weights=False, **MASKS[mask])[0] for net in (pruned, zeroed))
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-4)
    with_weights = pruned(x, x, x, **MASKS[mask])[0]
    torch.testing.assert_close(with_weights, right, atol=1e-5, rtol=1e-4)


def test_queries_of_another_length_and_rows_without_a_batch():
    pruned, zeroed = without_heads(attention(batch_first=True), [1, 3])
    query, key, value = torch.randn(3, 2, WIDTH), torch.randn(3, 7, WIDTH), torch.randn(3, 7, WIDTH)
    torch.testing.assert_close(
        pruned(query, key, value)[0], zeroed(query, key, value)[0], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        pruned(query[0], key[0], value[0])[0], zeroed(query[0], key[0], value[0])[0], atol=1e-5, rtol=1e-4
    )


def test_the_weights_of_attention_are_those_of_the_heads_that_stay():
    part = attention(batch_first=True)
    pruned, _ = without_heads(part, [0, 2])
    x = torch.randn(3, 5, WIDTH)
    every = part(x, x, x, average_attn_weights=False)[1]
    torch.testing.assert_close(pruned(x, x, x, average_attn_weights=False)[1], every[:, [0, 2]])
    torch.testing.assert_close(pruned(x, x, x)[1], every[:, [0, 2]].mean(1))


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_layer_does_not_take_torchs_fused_kernel_with_it(norm_first):
    """The kernel takes the size of a head from the width, and would compute with another number of heads."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=True, norm_first=norm_first).eval()
    zeroed = copy.deepcopy(layer)
    layer.self_attn, zeroed.self_attn = without_heads(layer.self_attn, [1, 2])
    x = torch.randn(3, 5, WIDTH)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), zeroed(x), atol=1e-5, rtol=1e-4)
