"""Static post-training quantization: weights of 8, 4, 3 or 2 bits, activations of 8 bits or in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from fairpress.compression.quantization.calibration_sampling import (
    Sampling,
    groups_of,
    sample_rows,
    validation_groups,
)
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.step import Step, TrainedNetwork
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, Quantized
    from fairpress.compression.quantized_graph.row_chunks import Rows

Bits = Literal[2, 3, 4, 8]
Choice = Literal["minmax", "percentile", "mse", "auto"]
Rounding = Literal["nearest", "gptq", "adaround", "brecq"]


def split_names(value: Any) -> Any:
    """Split ``conv1|fc`` into its parts."""
    return tuple(filter(None, value.split("|"))) if isinstance(value, str) else value


def _split_layer_bits(value: Any) -> Any:
    """Split ``conv1:8|fc:4`` into pairs of a layer and its bit width."""
    if not isinstance(value, str):
        return value
    pairs = [part.rpartition(":") for part in split_names(value)]
    if not all(name for name, _, _ in pairs):
        raise ValueError("write layer:bits, such as bits=conv1:8|fc:4")
    return tuple((name, int(bits) if bits.isdigit() else bits) for name, _, bits in pairs)


class QuantizationOptions(BaseModel):
    """Options common to quantization with and without training: bit widths, calibration and range estimation.

    Attributes
    ----------
    weight_bits
        Bit width of the weights: 8, 4, 3 (7 levels), or 2 (3 levels), bit-packed; see `Quantize.rounding`.
    activation_bits
        8: layers, sums and pools read unsigned 8-bit integers, with integer kernels. 32: weights only.
    bits
        Layers with another bit width: ``bits=conv1:8|fc:8``, or by their place, ``bits=first:8|last:8``.
    keep
        Layers that stay in float: ``keep=conv1|fc``.
    keep_head
        Whether the last layer stays in float.
    reduce_range
        Whether 8-bit weights use 7 of their bits, so that sums do not saturate on any processor.
    weights, activations
        Method of range estimation: ``"minmax"``, ``"percentile"`` (99.9 %), ``"mse"`` (least squared error), or
        ``"auto"``, which tries all on validation rows. ``ranges=…`` sets both.
    rows
        Maximum number of rows of the calibration part (and of the validation part for ``"auto"``).
    calibration, by, draw
        Choice of rows (`calibration_sampling.sample_rows`): ``"first"``, ``"random"``, equally many of every group
        (``"balanced"``) or of every group of every label (``"balanced-label"``). Groups are those of `by`, or of all
        sensitive attributes together. Another `draw` takes other rows, as does another seed.
    preserve
        Share of each layer's output channels that keep 8 bits if the layer has fewer
        (`preserved_channels.choose_preserved`).
    channels
        Choice of these channels: those whose quantization affects the ``"groups"`` of `by` most differently (the default
        with `by`), those most important over all rows, ``"pooled"`` (the default without), or ``"random"`` ones.
    error
        What ``"auto"`` minimizes: the ``"mean"`` error of the outputs, or that of the ``"worst"`` group.
    """

    preserves: ClassVar[bool] = True  # whether single channels may have another bit width

    weight_bits: Bits
    activation_bits: int = 8
    bits: Annotated[tuple[tuple[str, Bits], ...], BeforeValidator(_split_layer_bits)] = ()
    keep: Annotated[tuple[str, ...], BeforeValidator(split_names)] = ()
    keep_head: bool = False
    reduce_range: bool = False
    weights: Choice = "mse"
    activations: Choice = "mse"
    ranges: Choice | None = Field(default=None, exclude=True)
    rows: int = Field(default=512, ge=8, le=1_000_000)
    calibration: Sampling = "first"
    by: str | None = None
    draw: int = Field(default=0, ge=0, le=2**63 - 1)
    error: Literal["mean", "worst"] = "mean"
    preserve: float = Field(default=0.0, ge=0, lt=1)
    channels: Literal["groups", "pooled", "random"] | None = None

    @property
    def channel_choice(self) -> Literal["groups", "pooled", "random"]:
        """Method of choosing preserved channels."""
        return self.channels or ("pooled" if self.by is None else "groups")

    @property
    def reads_by(self) -> bool:
        """Whether any option uses the groups of `by`."""
        asks = (
            self.calibration.startswith("balanced"),
            self.error == "worst",
            getattr(self, "method", None),
            getattr(self, "moments", "pooled") != "pooled",
        )
        return any(asks) or bool(self.preserve and self.channels in (None, "groups"))

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.channels and not self.preserve:
            raise ValueError("channels chooses preserved channels; add their share, such as preserve=0.1")
        if self.preserve and not self.preserves:
            raise ValueError(
                "mixed gives a bit width to whole layers; preserve belongs to int4, int3, int2 and qat-…"
            )
        if self.preserve and self.weight_bits == 8 and all(bits == 8 for _, bits in self.bits):
            raise ValueError(
                "preserve keeps channels at 8 bits, and here all have 8 bits; take int4, int3 or int2"
            )
        if self.channels == "groups" and self.by is None:
            raise ValueError("channels=groups needs a sensitive attribute, such as by=race")
        if self.draw and self.calibration == "first" and self.channels != "random":
            raise ValueError("draw needs calibration=random, balanced or balanced-label, or channels=random")
        if self.error == "worst" and "auto" not in (self.weights, self.activations):
            raise ValueError(
                "error=worst chooses between methods of range estimation, so it needs ranges=auto"
            )
        if self.by is not None and not self.reads_by:
            raise ValueError(
                "by needs calibration=balanced, calibration=balanced-label, error=worst, moments=balanced or preserve=0.1"
            )
        return self

    def options_without_groups(self) -> dict[str, Any]:
        """Return the options without regard to groups: as many random rows, the mean error, pooled channels."""
        balanced = self.calibration.startswith("balanced")
        return {
            "calibration": "random" if balanced else self.calibration,
            "by": None,
            "error": "mean",
            "channels": "random" if self.channels == "random" else None,
        }

    def calibration_rows(
        self, datasets: Sequence[Dataset], seeds: Sequence[int]
    ) -> tuple[list[Rows], list[dict[str, Any]]]:
        """Return each network's calibration inputs [rows, …], and their facts for its card."""
        from fairpress.compression.quantized_graph.row_chunks import take
        from fairpress.training.data import tensors

        samples = [self._sample(d, s) for d, s in zip(datasets, seeds, strict=True)]
        rows = [
            take(tensors(d, "calibration").inputs, positions)
            for d, (positions, _) in zip(datasets, samples, strict=True)
        ]
        return rows, [facts for _, facts in samples]

    def _sample(self, dataset: Dataset, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        return sample_rows(dataset, self.rows, self.calibration, self.by, (self.draw, seed))

    def groups_of_rows(
        self, datasets: Sequence[Dataset], seeds: Sequence[int], by: str | None, option: str
    ) -> tuple[list[Tensor], list[dict[str, Any]]]:
        """Return the groups of each network's calibration rows [rows] (−1: too few), and their facts for its card."""
        import torch

        groups = [
            groups_of(d, self._sample(d, s)[0], by, option) for d, s in zip(datasets, seeds, strict=True)
        ]
        return [torch.from_numpy(codes) for codes, _ in groups], [facts for _, facts in groups]

    def preserved(
        self,
        engine: BatchQuantizer,
        states: Sequence[Mapping[str, Tensor]],
        calibration: Sequence[Rows],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
    ) -> tuple[list[dict[str, Tensor]], list[dict[str, Any]]] | None:
        """Return each network's channels that keep 8 bits (`choose_preserved`), and facts for its card; None if none do.

        `states` are float states with batch norms.
        """
        if not self.preserve:
            return None
        from fairpress.compression.quantization.preserved_channels import choose_preserved

        method, prepared = self.channel_choice, engine.prepare(self.scheme)
        groups: Sequence[Tensor | None] = [None] * len(states)
        facts: list[dict[str, Any]] = [{} for _ in states]
        if method == "groups":
            groups, facts = self.groups_of_rows(datasets, seeds, self.by, f"preserve={self.preserve:g}")
        tops = []
        for i, (state, rows, seed) in enumerate(zip(states, calibration, seeds, strict=True)):
            network_tops, sensitivity = choose_preserved(
                engine,
                prepared,
                engine.fold(state),
                method,
                rows,
                groups[i],
                (self.draw, seed),
            )
            tops.append(network_tops)
            facts[i] = {"channels": method, **facts[i], **sensitivity}
        return tops, facts

    def validation_rows(self, datasets: Sequence[Dataset]) -> tuple[list[Rows], list[Tensor] | None] | None:
        """Return each network's validation inputs for ``"auto"``, and their groups if the worst group's error counts."""
        import torch

        if "auto" not in (self.weights, self.activations):
            return None
        rows = [inputs(d, "validation", self.rows) for d in datasets]
        if self.error == "mean":
            return rows, None
        return rows, [torch.from_numpy(validation_groups(d, self.by, self.rows)) for d in datasets]

    @model_validator(mode="before")
    @classmethod
    def _expand_ranges(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("ranges") is not None:
            rest = {k: v for k, v in data.items() if k != "ranges"}
            return {"weights": data["ranges"], "activations": data["ranges"], **rest}
        return data

    @field_validator("activation_bits")
    @classmethod
    def _activations(cls, value: int) -> int:
        if value in (8, 32):
            return value
        if value < 8:
            raise ValueError(
                f"an ONNX file cannot store activations of {value} bits: QuantizeLinear saturates only at the limits of its "
                "8-bit type, and runtimes optimize away an explicit Clip; take 8, or 32 to keep them in float"
            )
        raise ValueError("activations have 8 bits, or 32 to stay in float")

    @property
    def scheme(self) -> Scheme:
        """The scheme for the quantizer."""
        return Scheme(
            self.weight_bits,
            self.activation_bits == 8,
            self.bits,
            self.keep,
            self.keep_head,
            self.reduce_range,
            self.preserve,
        )


class Quantize(QuantizationOptions, Step):
    """Quantize a trained network without fine-tuning.

    Attributes
    ----------
    rounding
        ``"nearest"``, or integers chosen so that outputs on calibration rows change little: those of layers one column at a
        time (``"gptq"``), then learned by gradients for layers (``"adaround"``) or residual blocks (``"brecq"``). These take
        all 4 integers of 2 bits and all 8 of 3 bits.
    bias_correction
        Whether the biases of layers make up for the mean change of each output channel on calibration rows.
    moments
        Whose outputs: those of all rows (``"pooled"``), of all groups of `by` alike (``"balanced"``), or more of the groups
        whose outputs change most, in each layer (``"minimax"``).
    """

    final: ClassVar[bool] = True

    rounding: Rounding = "nearest"
    bias_correction: bool = False
    moments: Literal["pooled", "balanced", "minimax"] = "pooled"

    @model_validator(mode="after")
    def _check_rounding(self) -> Self:
        if self.moments != "pooled" and self.rounding != "gptq":
            raise ValueError(f"moments={self.moments} belongs to rounding=gptq")
        return self

    @property
    def scheme(self) -> Scheme:
        """The scheme for the quantizer."""
        return replace(super().scheme, full_range=self.rounding != "nearest")

    def plain(self) -> Quantize:
        """Return the same step, calibrated without regard to groups."""
        return self.model_copy(update={**self.options_without_groups(), "moments": "pooled"})

    def compensated(self) -> Quantize:
        """Return the step with ``rounding=gptq`` if it rounds weights below 8 bits to nearest."""
        below = min(self.weight_bits, *(bits for _, bits in self.bits), 8) < 8
        return self.model_copy(update={"rounding": "gptq"}) if below and self.rounding == "nearest" else self

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Quantize each network on its own calibration rows; the graph is exported once for all."""
        from fairpress.compression.quantization.batch_quantizer import quantize_many

        engine = quantizer_for(networks[0], datasets[0])
        states = [n.state for n in networks]
        calibration, sampling_facts = self.calibration_rows(datasets, seeds)
        options, channel_facts = self.calibration_options(engine, states, calibration, datasets, seeds)
        quantized = quantize_many(engine, states, calibration, self.scheme, **options)
        if on_message is not None:
            on_message(f"{len(quantized)} network{'s' if len(quantized) > 1 else ''} quantized")
            warn_of_differences(quantized, on_message)
        return [
            replace(
                n,
                onnx=q.onnx,
                details={**n.details, "calibration_rows": len(rows), **sampling, **channels, **q.details},
            )
            for n, q, rows, sampling, channels in zip(
                networks, quantized, calibration, sampling_facts, channel_facts, strict=True
            )
        ]

    def calibration_options(
        self,
        engine: BatchQuantizer,
        states: Sequence[Mapping[str, Tensor]],
        calibration: Sequence[Rows],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
    ) -> tuple[dict[str, Any], Sequence[dict[str, Any]]]:
        """Return the options of `batch_quantizer.calibrate_many` for these networks, and facts for each card."""
        validation, groups = self.validation_rows(datasets) or (None, None)
        tops, channel_facts = self.preserved(engine, states, calibration, datasets, seeds) or (
            None,
            [{} for _ in states],
        )
        row_groups: list[Tensor] | None = None
        if self.moments != "pooled":
            row_groups, facts = self.groups_of_rows(datasets, seeds, self.by, f"moments={self.moments}")
            channel_facts = [{**a, **b} for a, b in zip(channel_facts, facts, strict=True)]
        options = {
            "weights": self.weights,
            "activations": self.activations,
            "validation": validation,
            "groups": groups,
            "tops": tops,
            "rounding": self.rounding,
            "bias_correction": self.bias_correction,
            "moments": self.moments,
            "row_groups": row_groups,
        }
        return options, channel_facts


def warn_of_differences(quantized: Sequence[Quantized], on_message: OnMessage) -> None:
    """Report files that predict differently from their graphs, because of the processor or the network, and remedies."""
    extra = [bytes_beyond_four_bits(q) for q in quantized]
    if max(extra) > 0:
        on_message(
            f"3 bits make {sum(e > 0 for e in extra)} of {len(quantized)} files larger than 4 bits would, by about "
            f"{max(extra):,} bytes: ONNX has no type of 3 bits, and joining the two parts of a weight takes more than small "
            "layers save. Take int4 here, or int2."
        )
    count = sum("saturates" in q.details for q in quantized)
    if count:
        on_message(
            f"8-bit sums saturate on this processor, which has no VNNI: {count} of {len(quantized)} files give other "
            "outputs "
            "here than on other processors. Predict with @onnxruntime-exact, or quantize with (reduce_range=true)."
        )
    movements = [q.details["moved_by_rounding"] for q in quantized if "moved_by_rounding" in q.details]
    if movements:
        on_message(
            f"predictions are sensitive to rounding errors in {len(movements)} of {len(quantized)} networks: changing "
            f"quantization steps by 0.01 % moves logits by {max(movements):.0%} of their spread, so another runtime or "
            "processor will predict differently for some people. Audit the file on the runtime that it ships to "
            "(MODEL@RUNTIME), or train the network longer."
        )


def inputs(dataset: Dataset, part: Literal["calibration", "validation"], rows: int) -> Rows:
    """Return the network's inputs for the first rows of a part."""
    from fairpress.compression.quantized_graph.row_chunks import take
    from fairpress.training.data import tensors

    return take(tensors(dataset, part).inputs, slice(rows))


def quantizer_for(network: TrainedNetwork, dataset: Dataset) -> BatchQuantizer:
    """Return the quantizer of a network's architecture, cached for equal options.

    Its graph is compared with the network (`BatchQuantizer.check`).
    """
    from fairpress.compression.quantization.batch_quantizer import make_quantizer
    from fairpress.models.initialize import initialize
    from fairpress.training.data import tensors, verification_rows
    from fairpress.training.device import device_like

    row = tensors(dataset, "calibration").inputs
    make = (
        make_quantizer.__wrapped__ if getattr(network.architecture, "trains_alone", False) else make_quantizer
    )
    engine = make(
        network.architecture, tuple(row.shape[1:]), row.dtype, dataset.task.width, dataset.task.outputs
    )
    engine.device = device_like(network.origin)
    engine.check(initialize(network.architecture, dataset), network.state, verification_rows(dataset))
    return engine


def bytes_beyond_four_bits(quantized: Quantized) -> int:
    """Return by about how many bytes the layers of 3 bits are larger than they would be in 4 bits; negative if smaller."""
    from math import prod

    from fairpress.runtime.onnx.three_bits import JOINING_BYTES

    return sum(
        JOINING_BYTES - prod(layer.shape) // 8 for layer in quantized.prepared.layers if layer.bits == 3
    )
