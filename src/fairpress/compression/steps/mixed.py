"""Mixed precision: 8, 4, 3 or 2 bits per layer, so that a file within a budget of bytes changes predictions least.

Changes are measured over all rows, or over the group for which they are largest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.step import Step, TrainedNetwork
from fairpress.compression.steps.quantize import Bits, QuantizationOptions, quantizer_for, warn_of_differences
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor

    from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, Quantized
    from fairpress.compression.quantized_graph.row_chunks import Rows

WIDTHS = (8, 4, 3, 2)
UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1_000_000}
MAX_TRIES = 6


def _parse_bytes(value: Any) -> Any:
    """Convert ``6.3MB`` to bytes; ``13%`` stays, since it depends on the network."""
    if not isinstance(value, str):
        if isinstance(value, int) and value < 1:
            raise ValueError("a budget must be at least one byte")
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KM]?B?|%)", value.upper())
    if match is None or match[2] not in (*UNITS, "%"):
        raise ValueError(
            f"{value} is not a size; write bytes, such as 20000, 20KB or 6.3MB, or a share, such as 13%"
        )
    if match[2] == "%":
        share = float(match[1])
        if not 0 < share < 100:
            raise ValueError("a budget in per cent must lie between 0 and 100")
        return f"{share:g}%"
    return _parse_bytes(round(float(match[1]) * UNITS[match[2]]))


class Mixed(QuantizationOptions, Step):
    """Measure the effect of each bit width on each layer, choose by a mixed-integer linear program, and quantize.

    Attributes
    ----------
    budget
        Maximum size of the file: 20000, 20KB, 6.3MB; or 13%, of the size of the network's weights and normalization
        statistics in 32 bits.
    bits
        Layers with a fixed bit width: ``bits=conv1:8``.
    protect
        A sensitive attribute, or an intersection, whose worst group's harm is minimized.
    sensitivity
        ``"measured"`` by quantizing each layer alone, or estimated by ``"gradient"`` (`gradient_sensitivity`), whose number
        of passes does not depend on the number of layers.
    rounding
        ``"gptq"`` rounds with error compensation (`Quantize`), also where sensitivities are measured.
    """

    final: ClassVar[bool] = True
    preserves: ClassVar[bool] = False

    budget: Annotated[int | str, BeforeValidator(_parse_bytes)]
    weight_bits: Bits = 8
    protect: str | None = None
    sensitivity: Literal["measured", "gradient"] = "measured"
    rounding: Literal["nearest", "gptq"] = "nearest"

    @property
    def scheme(self) -> Scheme:
        """The scheme for the quantizer."""
        return replace(super().scheme, full_range=self.rounding != "nearest")

    def plain(self) -> Mixed:
        """Return the same step, calibrated and allocated without regard to groups."""
        return self.model_copy(update={**self.options_without_groups(), "protect": None})

    def compensated(self) -> Mixed:
        """Return the step with ``rounding=gptq``."""
        return self.model_copy(update={"rounding": "gptq"})

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Quantize each network with its own bit widths. Raises UserError if none fit the budget."""
        engine = quantizer_for(networks[0], datasets[0])
        out, quantized_networks = [], []
        calibration, calibration_facts = self.calibration_rows(datasets, seeds)
        validation, groups = self.validation_rows(datasets) or (None, None)
        protected: Sequence[Tensor | None] = [None] * len(networks)
        group_facts: list[dict[str, Any]] = [{} for _ in networks]
        if self.protect is not None:
            protected, group_facts = self.groups_of_rows(
                datasets, seeds, self.protect, f"protect={self.protect}"
            )
        for i, (network, rows) in enumerate(zip(networks, calibration, strict=True)):
            held_out = None if validation is None else validation[i]
            quantized, facts = self._quantize_within_budget(
                engine,
                network,
                rows,
                held_out,
                None if groups is None else groups[i],
                protected[i],
                group_facts[i],
            )
            quantized_networks.append(quantized)
            details = {"calibration_rows": len(rows), **calibration_facts[i], **quantized.details, **facts}
            out.append(replace(network, onnx=quantized.onnx, details={**network.details, **details}))
            if on_message is not None:
                widths = list(quantized.details["bits"].values())
                counts = ", ".join(f"{widths.count(w)} at {w}" for w in (32, *WIDTHS) if w in widths)
                on_message(f"{len(quantized.onnx):,} bytes of {facts['budget']:,}: layers {counts} bits")
        if on_message is not None:
            warn_of_differences(quantized_networks, on_message)
        return out

    def byte_budget(self, network: TrainedNetwork) -> int:
        """Return the maximum size of a network's file in bytes."""
        if isinstance(self.budget, int):
            return self.budget
        weights = sum(t.numel() for t in network.state.values() if t.is_floating_point())
        return round(4 * weights * float(self.budget.removesuffix("%")) / 100)

    def _quantize_within_budget(
        self,
        engine: BatchQuantizer,
        network: TrainedNetwork,
        rows: Rows,
        held_out: Rows | None,
        groups: Tensor | None,
        protected: Tensor | None,
        group_facts: Mapping[str, Any],
    ) -> tuple[Quantized, Mapping[str, Any]]:
        from fairpress.compression.quantization.bit_allocation import allocate
        from fairpress.compression.quantization.sensitivity import (
            mean_divergence,
            network_outputs,
            sensitivity_table,
        )
        from fairpress.compression.quantized_graph.pt2e_quantizer import layers, small_tables, stored_layers
        from fairpress.models.tracing import stored_weight
        from fairpress.runtime.onnx.three_bits import JOINING_BYTES
        from fairpress.training.output_divergence import output_divergence

        state = engine.fold(network.state)
        budget = self.byte_budget(network)
        names_in_order = layers(engine.folded)
        small = [
            *small_tables(engine.folded),
            *stored_layers(engine.folded),
        ]  # 8 bits, unless `bits=` names them
        chosen = [
            n for n, w in self.scheme.widths(names_in_order).items() if w is not None and n not in small
        ]
        if not chosen:
            raise UserError(
                "mixed chooses the widths of convolutions, linear layers and vocabularies, and the network has none; "
                "take w4."
            )
        fixed_bits = self.scheme.named_bits(names_in_order)
        sensitivities = sensitivity_table(
            self.sensitivity, engine, state, chosen, WIDTHS, rows, self.rounding
        )
        names = list(group_facts.get("rows_of_groups", ()))

        def mean(group: int | None) -> dict[str, dict[int, float]]:
            groups_of_rows = None if group is None else protected
            return {
                n: {w: mean_divergence(v, groups_of_rows, group or 0) for w, v in sensitivities[n].items()}
                for n in chosen
            }

        harm, harms = mean(None), [mean(g) for g in range(len(names))]

        def free(table: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
            return {n: {w: h for w, h in table[n].items() if fixed_bits.get(n, w) == w} for n in chosen}

        sizes = {n: state[stored_weight(n, state)].numel() for n in chosen}
        cost = {
            n: {w: -(-sizes[n] * w // 8) + JOINING_BYTES * (w == 3) for w in free(harm)[n]} for n in chosen
        }

        def quantized(bits: Mapping[str, int]) -> Quantized:
            of_tables = {n: w for n, w in fixed_bits.items() if n in small}
            return self._quantized(engine, network, {**of_tables, **bits}, rows, held_out, groups)

        # The size of a file without its weights is known only once it exists: start from the widest, then correct.
        bits = {n: max(cost[n]) for n in chosen}
        best = quantized(bits)
        for _ in range(MAX_TRIES):
            weight_budget = budget - (len(best.onnx) - sum(cost[n][bits[n]] for n in chosen))
            allocation = allocate(free(harm), cost, weight_budget, [free(table) for table in harms])
            if allocation is None:
                smallest = len(best.onnx) - sum(cost[n][bits[n]] - min(cost[n].values()) for n in chosen)
                raise UserError(
                    f"no bit widths fit a budget of {budget:,} bytes: the smallest file has about {smallest:,}; raise "
                    "the budget."
                )
            if allocation == bits and len(best.onnx) <= budget:
                break
            bits, best = allocation, quantized(allocation)
            if len(best.onnx) <= budget:
                break
        if len(best.onnx) > budget:
            raise UserError(
                f"the bit widths chosen for {budget:,} bytes give a file of {len(best.onnx):,}; raise the budget."
            )
        measured = output_divergence(best.graph(rows), network_outputs(engine, state, rows), engine.outputs)

        def sums(table: Mapping[str, Mapping[int, float]], group: int | None) -> dict[str, float]:
            groups_of_rows = None if group is None else protected
            return {
                "predicted": sum(table[n][bits[n]] for n in chosen),
                "measured": mean_divergence(measured, groups_of_rows, group or 0),
            }

        facts = {
            "budget": budget,
            "sensitivity_by": self.sensitivity,
            "sensitivity": {
                n: {
                    "depth": depth,
                    "weights": sizes[n],
                    "bits": bits[n],
                    **{str(w): h for w, h in harm[n].items()},
                    **(
                        {
                            "groups": {
                                name: {str(w): h for w, h in table[n].items()}
                                for name, table in zip(names, harms, strict=True)
                            }
                        }
                        if names
                        else {}
                    ),
                }
                for depth, n in enumerate(chosen, start=1)
            },
            "divergence": sums(harm, None),
        }
        if names:
            facts["protected"] = {
                "by": self.protect,
                **group_facts,
                "divergence": {name: sums(harms[g], g) for g, name in enumerate(names)},
            }
        return best, facts

    def _quantized(
        self,
        engine: BatchQuantizer,
        network: TrainedNetwork,
        bits: Mapping[str, int],
        rows: Rows,
        held_out: Rows | None,
        groups: Tensor | None,
    ) -> Quantized:
        from fairpress.compression.quantization.batch_quantizer import quantize_many

        scheme = replace(self.scheme, bits=tuple(bits.items()))
        (quantized,) = quantize_many(
            engine,
            [network.state],
            [rows],
            scheme,
            weights=self.weights,
            activations=self.activations,
            validation=None if held_out is None else [held_out],
            groups=None if groups is None else [groups],
            rounding=self.rounding,
        )
        return quantized
