"""Choose the output channels that keep 8 bits while the others get fewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.gradient_sensitivity import channel_sensitivities
from fairpress.compression.quantization.sensitivity import rounded
from fairpress.compression.quantized_graph.prepare import Layer, PreparedGraph
from fairpress.compression.quantized_graph.row_chunks import Rows
from fairpress.compression.quantized_graph.scheme import PRESERVED_TOP

Channels = Literal["groups", "pooled", "random"]


def choose_preserved(
    engine: BatchQuantizer,
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    method: Channels,
    rows: Rows,
    groups: Tensor | None,
    seed: Sequence[int],
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the largest integer of every channel [channels], by the names of `Layer.channel_tops`, and facts for the card.

    A channel's sensitivity is the divergence of the predictions when it alone is quantized
    (`gradient_sensitivity.channel_sensitivities`). ``"groups"`` takes the channels of each layer whose mean sensitivity
    differs most between two groups; ``"pooled"`` those of the highest mean over all rows; ``"random"`` draws them.

    Parameters
    ----------
    state
        The (folded) float state.
    rows, groups
        Inputs [rows, …] of the calibration part, and the group of each [rows], −1 for a row that is not counted.
    """
    split_layers = [layer for layer in prepared.layers if layer.preserved]
    if method == "random":
        rng = np.random.default_rng(list(seed))
        chosen = {
            n.name: torch.from_numpy(rng.choice(n.shape[0], n.preserved, replace=False)) for n in split_layers
        }
        return {n.channel_tops: _tops(n, chosen[n.name]) for n in split_layers}, {}
    weights = {n.name: state[n.weight].detach() for n in split_layers}
    changes = {n.name: rounded(weights[n.name], n.bits) - weights[n.name] for n in split_layers}
    sensitivities = channel_sensitivities(
        engine.folded, engine.on_device(state), changes, rows, engine.outputs
    )
    tops, summary = {}, {}
    for layer in split_layers:
        harm = sensitivities[layer.name]
        score = harm.mean(0) if method == "pooled" else largest_group_difference(harm, groups)
        channels = score.topk(layer.preserved).indices
        tops[layer.channel_tops] = _tops(layer, channels)
        summary[layer.name] = {
            "sensitivity": float(score.mean()),
            "of_preserved": float(score[channels].mean()),
        }
    return tops, {"channel_sensitivity": summary}


def largest_group_difference(harm: Tensor, groups: Tensor | None) -> Tensor:
    """Return the largest difference between two groups' means for every channel, from harms [rows, channels]."""
    assert groups is not None
    means = torch.stack([harm[groups == g].mean(0) for g in groups.unique().tolist() if g >= 0])
    return means.amax(0) - means.amin(0)


def _tops(layer: Layer, channels: Tensor) -> Tensor:
    tops = torch.full((layer.shape[0],), float(layer.top))
    tops[channels] = float(PRESERVED_TOP)
    return tops
