"""Static post-training quantization: weights of 8 or 4 bits, activations of 8, ranges from calibration rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from fairpress.compression.step import Network, Progress, Step
from fairpress.datasets.base import Dataset


class Quantize(Step):
    """INT8 or INT4 weights, packed on disk; every linear and convolution layer, none excepted.

    Attributes
    ----------
    weight_bits
        Width of every weight.
    ranges
        How a weight's scale is found: ``"mse"`` minimises the squared error, ``"minmax"`` covers max|w|.
    rows
        At most this many rows of the calibration part set the activations' ranges.
    """

    final: ClassVar[bool] = True

    weight_bits: Literal[4, 8]
    ranges: Literal["mse", "minmax"] = "mse"
    rows: int = Field(default=512, ge=8)

    def apply(
        self,
        networks: Sequence[Network],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Network]:
        """Quantize each network on its own calibration rows; the graph is exported once for all."""
        from fairpress.compression.engine import quantize_many
        from fairpress.models.registry import build
        from fairpress.training.fit import tensors

        calibration = [tensors(d, "calibration").inputs[: self.rows] for d in datasets]
        module = build(networks[0].architecture, calibration[0].shape[1], len(datasets[0].task.classes))
        made = quantize_many(
            module, [n.state for n in networks], calibration, weight_bits=self.weight_bits, ranges=self.ranges
        )
        if progress is not None:
            progress(f"{len(made)} networks quantized")
        return [
            replace(n, onnx=q.onnx, details={**n.details, "calibration_rows": len(rows), **q.details})
            for n, q, rows in zip(networks, made, calibration, strict=True)
        ]
