"""Weights of 8 or 4 bits with a scale per block of each row; activations in float."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.dynamic import read_elsewhere, refuse_convolutions
from fairpress.compression.steps.onnx_step import OnnxStep

if TYPE_CHECKING:
    from torch import Tensor

    from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
    from fairpress.compression.quantized_graph.row_chunks import Rows

MIN_BLOCK = 16  # of ONNX Runtime's kernel
SMALL_TABLE_BITS = 8  # of embedding tables besides the largest: few bytes, and every token reads them


class QuantizeBlocks(OnnxStep):
    """Store the weights of linear layers and embedding tables as integers, a scale for every few of them.

    ONNX Runtime computes with packed weights (MatMulNBits): memory is that of the file. It rounds activations to 8 bits
    inside that kernel, in blocks of each row. Where `block` does not divide what a channel reads, the largest power of two
    that does is taken, from 16 on; the card lists these layers, and small tables, which have one scale per row.

    Attributes
    ----------
    weight_bits
        8 or 4. The largest embedding table has as many, smaller ones 8.
    block
        Number of weights of an output channel that share a scale: 16, 32, 64, 128 or 256.
    rounding
        ``"nearest"``, or ``"gptq"`` (`Quantize`), which reads calibration rows; embedding tables are rounded to nearest.
    """

    done: ClassVar[str] = "quantized in blocks"

    weight_bits: Literal[8, 4]
    block: int = Field(ge=16, le=256)
    rounding: Literal["nearest", "gptq"] = "nearest"

    @field_validator("block")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("runtimes read blocks of 16, 32, 64, 128 or 256 weights")
        return value

    def file(
        self, engine: BatchQuantizer, network: TrainedNetwork, rows: Rows
    ) -> tuple[bytes, Mapping[str, Any]]:
        """Quantize linear layers and tables. Raises UserError for a network of convolutions, naming the largest."""
        from fairpress.compression.onnx.float_graph import (
            agreement,
            chosen_layers,
            chosen_stored,
            chosen_tables,
            float_model,
        )
        from fairpress.compression.onnx.packed_embedding import look_up_integers
        from fairpress.compression.onnx.stored_integers import store_integers
        from fairpress.compression.onnx.weight_blocks import packed_products, store_in_blocks
        from fairpress.compression.quantization.calibrate import scales_of_weights
        from fairpress.compression.quantization.float_layers import computed_in_float, float_layers_note
        from fairpress.compression.quantized_graph.pt2e_quantizer import small_tables
        from fairpress.compression.quantized_graph.range_estimators import weight_scales
        from fairpress.compression.quantized_graph.scheme import Scheme
        from fairpress.compression.rounding.block_scales import (
            block_scales,
            compensated_blocks,
            rounded_blocks,
        )
        from fairpress.compression.verification.checks import check_zeros
        from fairpress.models.tracing import products, stored_weight
        from fairpress.runtime.onnx.weight_packing import finalize

        state = engine.fold(network.state)
        chosen = chosen_layers(engine, self.keep)
        stored = chosen_stored(engine, self.keep)
        recipe = f"w{self.weight_bits}(block={self.block})"
        convolutions = refuse_convolutions(
            chosen,
            state,
            recipe,
            f"blocks are for products of matrices; take w{self.weight_bits}",
            stored,
        )
        tied = read_elsewhere(engine.folded, chosen)
        chosen = [name for name in chosen if name not in (*convolutions, *tied)]
        stored += tied  # other operators read them as a whole
        tables = chosen_tables(engine, self.keep)
        model = float_model(engine, state)
        small = small_tables(engine.folded)
        columns = {n: state[stored_weight(n, state)].shape[1] for n in (*tables, *chosen)}
        bits, blocks = self._grids(columns, tables, small)
        compensated: Mapping[str, Tensor] = {}
        if self.rounding == "gptq":
            prepared = engine.prepare(Scheme(8, activations=False))
            scaled = {**state, **scales_of_weights(prepared, state, "mse")}
            of_products = {n: blocks[n] for n in chosen}
            compensated = compensated_blocks(prepared, scaled, rows, of_products, self.weight_bits)
        for layer, width in bits.items():
            name = stored_weight(layer, state)
            weight, block = state[name], blocks[layer]
            scales = block_scales(weight, width, block)
            integers, values = rounded_blocks(compensated.get(layer, weight), scales, width, block)
            check_zeros(layer, integers.numpy(), weight)
            state[name] = values
            if layer in tables:
                look_up_integers(model, name, integers.numpy(), scales.numpy(), width)
            else:
                store_in_blocks(model, name, integers.numpy(), scales.numpy(), width, block)
        for layer in stored:
            name = stored_weight(layer, state)
            weight, top = state[name], 2 ** (self.weight_bits - 1) - 1
            scale = weight_scales(weight.flatten(1), top, "mse")
            step = scale.view(-1, *[1] * (weight.dim() - 1))
            integers = (weight / step).round().clamp(-top, top)
            check_zeros(layer, integers.numpy(), weight)
            state[name] = integers * step
            store_integers(model, name, integers.numpy(), scale.numpy(), self.weight_bits)
        data = finalize(model)
        uses = sum(count for name, count in products(engine.folded).items() if name in chosen)
        others = {name: block for name, block in blocks.items() if block != self.block}
        details = {
            "bits": {
                **bits,
                **dict.fromkeys(stored, self.weight_bits),
                **dict.fromkeys([*convolutions, *self.keep], 32),
            },
            "block": self.block,
            **({"other_blocks": others} if others else {}),
            "packed_products": packed_products(data, uses),
            **({"rounding": self.rounding} if self.rounding != "nearest" else {}),
            **computed_in_float(engine.folded, stored),
            **float_layers_note(engine.folded, [*tables, *chosen, *stored], self.keep),
        }
        return data, {**details, **agreement(data, engine, state, rows)}

    def _grids(
        self, columns: Mapping[str, int], tables: Collection[str], small: Collection[str]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Return layer → bit width and layer → block, of weights and tables [·, columns]."""
        bits, blocks = {}, {}
        for layer, count in columns.items():
            bits[layer] = max(self.weight_bits, SMALL_TABLE_BITS) if layer in small else self.weight_bits
            within = _block_within(count, self.block)
            if layer in tables:
                blocks[layer] = count if layer in small or within is None else within
                if blocks[layer] % 2:
                    bits[layer] = 8  # two integers of 4 bits share a byte
            else:
                # Otherwise the last block of a row is shorter, and OpenVINO refuses the file.
                blocks[layer] = within or self.block
        return bits, blocks


def _block_within(columns: int, block: int) -> int | None:
    """Return the largest block, up to the given one, that divides a row into equal blocks; None if it is below 16."""
    fitting = min(block, columns & -columns)
    return fitting if fitting >= MIN_BLOCK else None
