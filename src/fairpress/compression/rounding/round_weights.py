"""Round all weights of a network by a method, and correct its biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from fairpress.compression.quantized_graph.prepare import PreparedGraph
from fairpress.compression.rounding.bias_correction import correct_biases
from fairpress.compression.rounding.blocks import layer_blocks, residual_blocks
from fairpress.compression.rounding.compensate import compensate
from fairpress.compression.rounding.reconstruct import reconstruct

Rounding = Literal["nearest", "gptq", "adaround", "brecq"]


def round_weights(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    chunks: Sequence[Tensor],
    method: Rounding,
    *,
    bias_correction: bool = False,
) -> Mapping[str, Tensor]:
    """Return the state with weights whose nearest integers are those of the method, and with corrected biases.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights.
    chunks
        Inputs [rows, …] of the calibration part in chunks; labels are not used.
    method
        ``"nearest"``; ``"gptq"`` (`compensate`); ``"adaround"`` and ``"brecq"``, which start from gptq's integers and
        learn those of layers and of residual blocks (`reconstruct`).
    """
    rounded = state if method == "nearest" else compensate(prepared, state, chunks)
    if method in ("adaround", "brecq"):
        blocks = layer_blocks(prepared) if method == "adaround" else residual_blocks(prepared)
        rounded = reconstruct(prepared, state, rounded, chunks, blocks)
    return correct_biases(prepared, state, rounded, chunks) if bias_correction else rounded
