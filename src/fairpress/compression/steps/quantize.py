"""Static post-training quantization: weights of 8, 4 or 2 bits, activations of 8 or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, field_validator, model_validator

from fairpress.compression.calibration_rows import How, choose, worst_of
from fairpress.compression.scheme import Scheme
from fairpress.compression.step import Network, Progress, Step
from fairpress.datasets.base import Dataset

if TYPE_CHECKING:
    from torch import Tensor

    from fairpress.compression.engine import Engine, Quantized

Bits = Literal[2, 4, 8]
Choice = Literal["minmax", "percentile", "mse", "auto"]


def listed(value: Any) -> Any:
    """Let ``conv1|fc`` stand for its parts."""
    return tuple(filter(None, value.split("|"))) if isinstance(value, str) else value


def _paired(value: Any) -> Any:
    """Let ``conv1:8|fc:4`` stand for pairs of a layer and its width."""
    if not isinstance(value, str):
        return value
    pairs = [part.rpartition(":") for part in listed(value)]
    if not all(name for name, _, _ in pairs):
        raise ValueError("write layer:bits, such as bits=conv1:8|fc:4")
    return tuple((name, int(bits) if bits.isdigit() else bits) for name, _, bits in pairs)


class Widths(BaseModel):
    """What becomes integers, how wide, and how ranges are found: common to quantization with and without training.

    Attributes
    ----------
    weight_bits
        Width of the weights: 8, 4, or 2 (three levels), stored packed.
    activation_bits
        8: layers, sums and pools read unsigned 8-bit integers, and integer kernels run. 32: weights only.
    bits
        Layers with a width of their own: ``bits=conv1:8|fc:8``.
    keep
        Layers that stay in float: ``keep=conv1|fc``.
    keep_head
        Whether the last layer stays in float.
    reduce_range
        Whether 8-bit weights use 7 of their bits, so that no processor's sums saturate.
    weights, activations
        How ranges are found: ``"minmax"``, ``"percentile"`` (99.9 %), ``"mse"`` (least squared error), or
        ``"auto"``, which tries all on validation rows. ``ranges=…`` sets both.
    rows
        At most this many rows of the calibration part (and of the validation part for ``"auto"``).
    calibration, by, draw
        Which rows (`calibration_rows.choose`): ``"first"``, ``"random"``, as many of every group (``"balanced"``) or of
        every group of every label (``"balanced-label"``). Groups are those of `by`, or of all sensitive attributes together.
        Another `draw` takes other rows; so does another seed.
    error
        What ``"auto"`` takes the least of: the ``"mean"`` error of the outputs, or that of the ``"worst"`` group.
    """

    weight_bits: Bits
    activation_bits: int = 8
    bits: Annotated[tuple[tuple[str, Bits], ...], BeforeValidator(_paired)] = ()
    keep: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    keep_head: bool = False
    reduce_range: bool = False
    weights: Choice = "mse"
    activations: Choice = "mse"
    ranges: Choice | None = Field(default=None, exclude=True)
    rows: int = Field(default=512, ge=8)
    calibration: How = "first"
    by: str | None = None
    draw: int = Field(default=0, ge=0)
    error: Literal["mean", "worst"] = "mean"

    @model_validator(mode="after")
    def _by_is_read(self) -> Self:
        balanced = self.calibration.startswith("balanced")
        if self.draw and self.calibration == "first":
            raise ValueError("draw belongs to calibration=random, balanced or balanced-label")
        if self.error == "worst" and "auto" not in (self.weights, self.activations):
            raise ValueError("error=worst chooses between ways to find ranges, so it needs ranges=auto")
        if (
            self.by is not None
            and not balanced
            and self.error == "mean"
            and not getattr(self, "method", None)
        ):
            raise ValueError("by belongs to calibration=balanced, calibration=balanced-label or error=worst")
        return self

    def plain_rows(self) -> dict[str, Any]:
        """Return the calibration that a fairness-aware one is compared with: as many random rows, the mean error."""
        balanced = self.calibration.startswith("balanced")
        return {"calibration": "random" if balanced else self.calibration, "by": None, "error": "mean"}

    def calibration_rows(
        self, datasets: Sequence[Dataset], seeds: Sequence[int]
    ) -> tuple[list[Tensor], list[dict[str, Any]]]:
        """Return each network's calibration inputs [rows, …], and what its card says of them."""
        from fairpress.training.fit import tensors

        found = [
            choose(d, self.rows, self.calibration, self.by, (self.draw, s))
            for d, s in zip(datasets, seeds, strict=True)
        ]
        rows = [
            tensors(d, "calibration").inputs[which] for d, (which, _) in zip(datasets, found, strict=True)
        ]
        return rows, [told for _, told in found]

    def validation_rows(self, datasets: Sequence[Dataset]) -> tuple[list[Tensor], list[Tensor] | None] | None:
        """Return what ``"auto"`` chooses by: each network's validation inputs, and their groups where the worst counts."""
        import torch

        if "auto" not in (self.weights, self.activations):
            return None
        rows = [inputs(d, "validation", self.rows) for d in datasets]
        if self.error == "mean":
            return rows, None
        return rows, [torch.from_numpy(worst_of(d, self.by, self.rows)) for d in datasets]

    @model_validator(mode="before")
    @classmethod
    def _both(cls, data: Any) -> Any:
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
                f"activations of {value} bits do not survive in an ONNX file: QuantizeLinear knows no upper end but that "
                "of its 8-bit type, and runtimes drop the clipping that would stand in for it; take 8, or 32 for none"
            )
        raise ValueError("activations have 8 bits, or 32 for none")

    @property
    def scheme(self) -> Scheme:
        """Return what the engine is asked for."""
        return Scheme(
            self.weight_bits,
            self.activation_bits == 8,
            self.bits,
            self.keep,
            self.keep_head,
            self.reduce_range,
        )


class Quantize(Widths, Step):
    """Quantize what was trained, without training further."""

    final: ClassVar[bool] = True

    def plain(self) -> Quantize:
        """Return the same step, calibrated without regard to groups."""
        return self.model_copy(update=self.plain_rows())

    def apply(
        self,
        networks: Sequence[Network],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Network]:
        """Quantize each network on its own calibration rows; the graph is exported once for all."""
        from fairpress.compression.engine import quantize_many

        calibration, told = self.calibration_rows(datasets, seeds)
        validation, groups = self.validation_rows(datasets) or (None, None)
        made = quantize_many(
            engine_for(networks[0], datasets[0]),
            [n.state for n in networks],
            calibration,
            self.scheme,
            weights=self.weights,
            activations=self.activations,
            validation=validation,
            groups=groups,
        )
        if progress is not None:
            progress(f"{len(made)} network{'s' if len(made) > 1 else ''} quantized")
            warn_of_saturation(made, progress)
        return [
            replace(n, onnx=q.onnx, details={**n.details, "calibration_rows": len(rows), **how, **q.details})
            for n, q, rows, how in zip(networks, made, calibration, told, strict=True)
        ]


def warn_of_saturation(made: Sequence[Quantized], progress: Progress) -> None:
    """Say so where files decide otherwise than their graphs for a processor's sake, and how to avoid it."""
    count = sum("saturates" in q.details for q in made)
    if count:
        progress(
            f"8-bit sums saturate on this processor, which has no VNNI: {count} of {len(made)} files compute otherwise than "
            "elsewhere, and may decide so. Predict with @onnxruntime-exact, or quantize with (reduce_range=true)."
        )


def inputs(dataset: Dataset, part: Literal["calibration", "validation"], rows: int) -> Tensor:
    """Return the first rows of a part, as the network reads them."""
    from fairpress.training.fit import tensors

    return tensors(dataset, part).inputs[:rows]


def engine_for(network: Network, dataset: Dataset) -> Engine:
    """Return the engine of a network's architecture, kept from an earlier call where one with equal options was."""
    from fairpress.compression.engine import engine_of

    row = inputs(dataset, "calibration", 2)
    make = engine_of.__wrapped__ if getattr(network.architecture, "alone", False) else engine_of
    return make(network.architecture, tuple(row.shape[1:]), row.dtype, len(dataset.task.classes))
