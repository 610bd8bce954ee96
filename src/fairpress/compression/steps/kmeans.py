"""Weight clustering by K-means (Han et al. 2015, Deep Compression, arXiv 1510.00149, section 3): no training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.onnx_step import OnnxStep

if TYPE_CHECKING:
    from torch import Tensor

    from fairpress.compression.quantization.batch_quantizer import BatchQuantizer

ITERATIONS = 100


class Cluster(OnnxStep):
    """Replace each weight by the nearest of a few values per layer, stored once, with packed indices.

    The file contains the indices at 2, 4 or 8 bits and looks up the values (Gather) when it is loaded: it is smaller, and as
    fast as fp32. Embedding tables are layers too. Pruned weights stay zero, which takes one of the values.

    Attributes
    ----------
    clusters
        Number of values per layer, 2 … 256.
    """

    done: ClassVar[str] = "clustered"

    clusters: int = Field(ge=2, le=256)

    def file(
        self, engine: BatchQuantizer, network: TrainedNetwork, rows: Tensor
    ) -> tuple[bytes, Mapping[str, Any]]:
        """Cluster each layer's weights and store indices and values."""
        from fairpress.compression.onnx.codebook import look_up_weights, lookup_nodes
        from fairpress.compression.onnx.float_graph import (
            agreement,
            chosen_layers,
            chosen_stored,
            chosen_tables,
            float_model,
        )
        from fairpress.compression.quantization.float_layers import float_layers_note
        from fairpress.models.tracing import stored_weight
        from fairpress.runtime.onnx.weight_packing import finalize

        state = engine.fold(network.state)
        model = float_model(engine, state)
        errors: dict[str, float] = {}
        bits: dict[str, int] = {}
        chosen = [
            *chosen_tables(engine, self.keep),
            *chosen_layers(engine, self.keep),
            *chosen_stored(engine, self.keep),
        ]
        for layer in chosen:
            name = stored_weight(layer, state)
            weight = state[name]
            values, index = clustered(weight, self.clusters, zero="sparsity" in network.details)
            state[name] = values[index]
            errors[layer] = float(
                (weight - values[index]).square().sum() / weight.square().sum().clamp_min(1e-30)
            )
            bits[layer] = look_up_weights(model, name, values.numpy(), index.numpy())
        data = finalize(model)
        lookup_nodes(data, len(chosen))
        details = {
            "bits": {**bits, **dict.fromkeys(self.keep, 32)},
            "clusters": self.clusters,
            "squared_error_of_weights": errors,
            **float_layers_note(engine.folded, chosen, self.keep),
        }
        return data, {**details, **agreement(data, engine, state, rows)}


def clustered(weight: Tensor, clusters: int, *, zero: bool = False) -> tuple[Tensor, Tensor]:
    """Return the values [≤ clusters] of a weight's clusters, ascending, and the index of each entry's value.

    Lloyd's algorithm from equally spaced values, which the paper finds best. On sorted numbers each step is two searches
    and two differences of cumulative sums: it is deterministic, and millions of weights take a second. Empty clusters are
    dropped.

    Parameters
    ----------
    weight
        A float tensor of any shape.
    zero
        Whether entries that are 0 keep that value, and the others share the remaining values.
    """
    import torch

    flat = weight.detach().double().flatten()
    entries = flat[flat != 0] if zero else flat
    n_centres = clusters - 1 if zero and len(entries) < len(flat) else clusters
    ordered = entries.sort().values
    if not len(ordered):
        return torch.zeros(1), torch.zeros(weight.shape, dtype=torch.int64)
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    centres = torch.linspace(float(ordered[0]), float(ordered[-1]), n_centres, dtype=torch.float64).unique()
    previous_ends = None
    for _ in range(ITERATIONS):
        inner = torch.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        ends = torch.cat([inner.new_zeros(1), inner, inner.new_tensor([len(ordered)])])
        counts = ends.diff()
        centres = (sums[ends].diff()[counts > 0] / counts[counts > 0]).sort().values
        if previous_ends is not None and torch.equal(previous_ends, ends):
            break
        previous_ends = ends
    if zero and len(entries) < len(flat):
        centres = torch.cat([centres, centres.new_zeros(1)])
    values = centres.float().unique()
    middles = (values[1:] + values[:-1]).double() / 2
    index = torch.searchsorted(middles, flat)
    if zero:
        # Otherwise a weight near zero would be pruned, or a zero would get another value.
        index = _apart_from_zero(values, flat, index)
    return values, index.view(weight.shape)


def _apart_from_zero(values: Tensor, flat: Tensor, index: Tensor) -> Tensor:
    """Assign the value 0 to zeros, and the nearest of the other values to other entries."""
    import torch

    zero_index = int((values == 0).nonzero()[0]) if bool((values == 0).any()) else None
    if zero_index is None or len(values) == 1:
        return index
    others = torch.cat([values[:zero_index], values[zero_index + 1 :]])
    nearest = torch.searchsorted((others[1:] + others[:-1]).double() / 2, flat)
    nearest = nearest + (nearest >= zero_index)
    return torch.where(flat == 0, torch.full_like(index, zero_index), nearest)
