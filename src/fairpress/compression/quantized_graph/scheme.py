"""A quantization scheme: the bit width of every layer's weights, and whether activations are quantized."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairpress.core.errors import UserError, did_you_mean

PRESERVED_BITS = 8
SMALL_TABLE_BITS = (
    8  # of embedding tables beside the vocabulary's: they are few bytes, and every token reads them
)
MAX_FULL_RANGE_BITS = 3  # with more bits, one more integer is worth little
PRESERVED_TOP = 63  # 7 of the 8 bits: nine times finer than 4 bits, and sums do not saturate on any processor

PLACES = {"first": 0, "last": -1}
"""Names of layers by their place, the same for every architecture."""


@dataclass(frozen=True)
class Scheme:
    """Bit widths of a network's weights.

    Attributes
    ----------
    weight_bits
        Bit width of all weights that `bits` does not name; small embedding tables have at least `SMALL_TABLE_BITS`.
    activations
        Whether the inputs of layers, sums and pools become unsigned 8-bit integers; False: weights only.
    bits
        (layer, bit width) of single layers; `first` and `last` name them by their place unless a layer is called so.
    keep
        Layers that stay in float.
    keep_head
        Whether the last layer stays in float.
    reduce_range
        Whether 8-bit weights use −63 … 63 only. On x86 processors without VNNI, ONNX Runtime adds pairs of 8-bit
        products in 16 bits; 2 · 255 · 63 fits, 2 · 255 · 127 does not.
    preserve
        Share of the output channels of every layer below 8 bits that are stored at 8 bits, −63 … 63.
    full_range
        Whether weights of 2 and 3 bits take all 2^bits integers. The range is then not symmetric, and the scale of a channel
        can be negative, so that the end that reaches further is on the side where it is needed.
    """

    weight_bits: int = 8
    activations: bool = True
    bits: tuple[tuple[str, int], ...] = ()
    keep: tuple[str, ...] = ()
    keep_head: bool = False
    reduce_range: bool = False
    preserve: float = 0.0
    full_range: bool = False

    def preserved(self, channels: int, bits: int) -> int:
        """Return the number of output channels that have 8 bits in a layer of `bits`."""
        return round(self.preserve * channels) if bits < PRESERVED_BITS else 0

    def top(self, bits: int) -> int:
        """Return the largest integer of a weight of this bit width."""
        return 63 if bits == 8 and self.reduce_range else int(2 ** (bits - 1)) - 1

    def low(self, bits: int) -> int:
        """Return the smallest integer of a weight of this bit width: −top, or −top − 1 in the full range."""
        return -self.top(bits) - (self.full_range and bits <= MAX_FULL_RANGE_BITS)

    def widths(self, layers: Iterable[str], small_tables: Collection[str] = ()) -> Mapping[str, int | None]:
        """Return layer → bit width, None for layers that stay in float.

        Parameters
        ----------
        layers
            Layers and embedding tables in the order they run.
        small_tables
            Embedding tables beside that of the vocabulary.

        Raises
        ------
        UserError
            A named layer does not exist, a layer is both kept in float and given a width, or all layers stay in float.
        """
        names = list(layers)
        for name in (*(n for n, _ in self.bits), *self.keep):
            if name not in (*names, *PLACES):
                raise UserError(f"there is no layer {name!r} to quantize." + did_you_mean(name, names))
        in_float = {*(_placed(n, names) for n in self.keep), *(names[-1:] if self.keep_head else ())}
        layer_bits = self.named_bits(names)
        conflicting = sorted(in_float & set(layer_bits))
        if conflicting:
            raise UserError(
                f"layer {conflicting[0]!r} is both kept in float and given {layer_bits[conflicting[0]]} bits; remove "
                "one of the two."
            )
        if not set(names) - in_float:
            raise UserError("`keep=` leaves all layers in float; remove one of them to quantize something.")
        table_bits = dict.fromkeys(small_tables, max(self.weight_bits, SMALL_TABLE_BITS))
        default = {**dict.fromkeys(names, self.weight_bits), **table_bits}
        return {n: None if n in in_float else layer_bits.get(n, default[n]) for n in names}

    def named_bits(self, names: Sequence[str]) -> dict[str, int]:
        """Return layer → bit width of the layers that `bits` names."""
        return {_placed(n, names): bits for n, bits in self.bits}


def _placed(name: str, names: Sequence[str]) -> str:
    """Return the layer that a name means: one that is called so, else the first or the last."""
    return name if name in names or name not in PLACES or not names else names[PLACES[name]]
