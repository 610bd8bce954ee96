"""Cross-layer equalization before quantization: the same network, with layers that are easier to round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fairpress.compression.step import Step, TrainedNetwork
from fairpress.core.errors import UserError, listed
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor

    from fairpress.compression.quantization.batch_quantizer import BatchQuantizer

TOLERANCE = 1e-4  # of the largest logit


class Equalize(Step):
    """Move scale between layers that only ReLU, pooling or nothing separates (`quantization.equalization`).

    Layers whose output has several readers, or another activation function, stay as they are; the card names them.
    """

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Equalize each network.

        Raises
        ------
        UserError
            The network has no layers that can be equalized.
        VerificationError
            A network does not compute the same afterwards.
        """
        from fairpress.compression.quantization.equalization import equalize, find_equalized_pairs
        from fairpress.compression.steps.quantize import quantizer_for
        from fairpress.training.data import verification_rows

        engine = quantizer_for(networks[0], datasets[0])
        pairs, skipped = find_equalized_pairs(engine.folded, engine.pairs)
        if not pairs:
            reasons = listed(
                [
                    f"{reason} ({len(names)} layer{'s' * (len(names) > 1)})"
                    for reason, names in skipped.items()
                ]
            )
            raise UserError(
                "equalize finds no two layers with only ReLU, pooling or nothing between them: in this network they are "
                f"followed by {reasons}. Leave out equalize."
            )
        results = []
        for network, dataset in zip(networks, datasets, strict=True):
            state, scales = equalize(network.state, engine.pairs, pairs)
            check_same_outputs(engine, network.state, state, verification_rows(dataset))
            facts = {
                "layers": [pair.first for pair in pairs],
                "skipped": skipped,
                "largest_scale": max(float(s.max().maximum(s.min().reciprocal())) for s in scales.values()),
            }
            results.append(replace(network, state=state, details={**network.details, "equalized": facts}))
        if on_message is not None:
            others = "".join(f"; not {len(names)} before {reason}" for reason, names in skipped.items())
            on_message(f"{len(pairs)} layer{'s' * (len(pairs) > 1)} equalized with the next{others}")
        return results


def check_same_outputs(
    engine: BatchQuantizer, before: Mapping[str, Tensor], after: Mapping[str, Tensor], rows: Tensor
) -> None:
    """Raise VerificationError unless both states give the same logits, but for float rounding."""
    import torch

    from fairpress.compression.errors import VerificationError
    from fairpress.models.functional_call import FastFunctionalCall

    slots = FastFunctionalCall(engine.folded)
    with torch.no_grad():
        first, second = (slots.call(engine.fold(state), rows) for state in (before, after))
    difference = float((first - second).abs().max() / first.abs().max().clamp_min(1))
    if not difference <= TOLERANCE:
        raise VerificationError(
            f"equalize changed the network's outputs by {difference:.2g} of the largest; leave it out."
        )
