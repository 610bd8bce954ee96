"""Round all weights of a network by a method, and correct its biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from fairpress.compression.quantized_graph.prepare import PreparedGraph
from fairpress.compression.quantized_graph.row_chunks import Rows
from fairpress.compression.rounding.bias_correction import correct_biases
from fairpress.compression.rounding.blocks import layer_blocks, residual_blocks
from fairpress.compression.rounding.compensate import compensate, rows_in_memory, rows_of_one_shape
from fairpress.compression.rounding.group_moments import Moments
from fairpress.compression.rounding.reconstruct import reconstruct

Rounding = Literal["nearest", "gptq", "adaround", "brecq"]


def round_weights(
    prepared: PreparedGraph,
    state: Mapping[str, Tensor],
    rows: Rows,
    method: Rounding,
    *,
    moments: Moments = "pooled",
    groups: Tensor | None = None,
    bias_correction: bool = False,
) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """Return the state with weights whose nearest integers are those of the method, and facts for the card.

    Learning and bias correction run the float network beside the rounded one, so they hold the values of twice as many rows
    as `compensate` does.

    Parameters
    ----------
    state
        The (folded) float state, with the scales of all weights.
    rows
        Inputs [rows, …] of the calibration part; labels are not used.
    method
        ``"nearest"``; ``"gptq"`` (`compensate`); ``"adaround"`` and ``"brecq"``, which start from gptq's integers and
        learn those of layers and of residual blocks (`reconstruct`).
    moments, groups
        Of `compensate`.
    """
    rounded, facts = state, dict[str, Any]()
    if method != "nearest":
        rounded, facts = compensate(prepared, state, rows, moments=moments, groups=groups)
    if method in ("adaround", "brecq"):
        blocks = layer_blocks(prepared) if method == "adaround" else residual_blocks(prepared)
        one_shape, present = rows_of_one_shape(prepared, state, rows)
        rounded = reconstruct(prepared, state, rounded, one_shape, blocks, present)
        facts["rounding_blocks"] = len(blocks)
    if bias_correction:
        _, chunks = rows_in_memory(prepared, state, rows)
        rounded, facts["corrected_biases"] = correct_biases(prepared, state, rounded, chunks)
    return rounded, facts
