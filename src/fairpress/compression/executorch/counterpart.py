"""The recipes that XNNPACK can compute, and the options of a recipe that it cannot."""

from __future__ import annotations

from fairpress.compression.recipes import Recipe
from fairpress.compression.steps.quantize import Quantize
from fairpress.core.errors import UserError


def quantization_of(recipe: Recipe) -> Quantize | None:
    """Return the quantization of a recipe; None for ``fp32``.

    Raises UserError for steps and options that have no counterpart in XNNPACK's quantizer, by name.
    """
    if not recipe.steps:
        return None
    *earlier, last = recipe.steps
    if earlier or not last.final:
        before = str(Recipe(tuple(earlier) if last.final else recipe.steps))
        raise UserError(
            f"an export quantizes and changes nothing else; compress by {before} first, and export the result"
            + (f" with --recipe '{Recipe((last,))}'." if last.final else ".")
        )
    if type(last) is not Quantize:
        raise UserError(
            f"{recipe} has no counterpart in XNNPACK, which computes with weights and activations of 8 bits that are "
            "calibrated beforehand; take int8, or fp32."
        )
    for name, given, remedy in (
        (f"weights of {last.weight_bits} bits", last.weight_bits != 8, "take int8"),
        ("activations in float", last.activation_bits != 8, "take int8"),
        ("bits=", any(bits != 8 for _, bits in last.bits), "leave it out"),
        ("reduce_range=", last.reduce_range, "leave it out: XNNPACK's sums have 32 bits and do not saturate"),
        ("preserve=", bool(last.preserve), "leave it out"),
    ):
        if given:
            raise UserError(f"{recipe}: XNNPACK's quantizer has no counterpart of {name}; {remedy}.")
    return last
