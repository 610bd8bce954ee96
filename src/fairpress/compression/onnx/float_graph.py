"""A network's float ONNX graph whose weights keep their names, for steps that rewrite weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
import torch
from torch import Tensor

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, rows_to_check
from fairpress.compression.quantized_graph.pt2e_quantizer import layers, product_layers, stored_layers
from fairpress.compression.verification.checks import check_agreement, check_no_randomness
from fairpress.core.errors import UserError, did_you_mean
from fairpress.models.export import fill
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.tracing import is_lookup, layer_name


def float_model(engine: BatchQuantizer, state: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Return the graph of a network with this (folded) state; initializers have the names of the state."""
    return fill(engine.float_template(state), {k: v.detach().cpu().numpy() for k, v in state.items()})


def chosen_layers(engine: BatchQuantizer, keep: tuple[str, ...]) -> list[str]:
    """Return the layers to change, in the order they run: convolutions and linear layers but those in `keep`.

    Raises UserError for a name that is not a layer, embedding table or other storable weight, or if none of them is left.
    """
    names = layers(engine.folded)
    for name in keep:
        if name not in names:
            raise UserError(f"there is no layer {name!r} to keep in float." + did_you_mean(name, names))
    if not set(names) - set(keep):
        raise UserError("`keep=` leaves all layers in float; remove one of them to compress something.")
    return [n for n in product_layers(engine.folded) if n not in keep]


def chosen_tables(engine: BatchQuantizer, keep: tuple[str, ...]) -> list[str]:
    """Return the embedding tables to change: all but those in `keep`, and those that other operators read too."""
    tables = {layer_name(node) for node in engine.folded.graph.nodes if is_lookup(node)}
    return [name for name in layers(engine.folded) if name in tables and name not in keep]


def chosen_stored(engine: BatchQuantizer, keep: tuple[str, ...]) -> list[str]:
    """Return the layers whose weights can only be stored as integers (`models.storable_weights`) but those in `keep`."""
    return [name for name in stored_layers(engine.folded) if name not in keep]


def agreement(
    data: bytes, engine: BatchQuantizer, state: Mapping[str, Tensor], rows: Tensor
) -> dict[str, Any]:
    """Compare a file with the folded graph with this state, on at most as many rows as the engine checks."""
    check_no_randomness(onnx.load_from_string(data))
    rows = rows[: rows_to_check(rows)]
    with torch.no_grad():
        expected = FastFunctionalCall(engine.folded).call(state, rows)
    return check_agreement(data, rows, expected, outputs=engine.outputs)
