"""Base class of steps that rewrite the weights of a float ONNX file, without calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from fairpress.compression.step import Step, TrainedNetwork
from fairpress.compression.steps.quantize import inputs, quantizer_for, split_names
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor

    from fairpress.compression.quantization.batch_quantizer import BatchQuantizer


class OnnxStep(Step):
    """Base class: each network's file is its float file, with folded batch norms and rewritten weights.

    Attributes
    ----------
    keep
        Layers that stay unchanged: ``keep=conv1|fc``.
    rows
        Maximum number of calibration rows on which the file is compared with its graph.
    """

    final: ClassVar[bool] = True
    done: ClassVar[str]  # participle for the final message

    keep: Annotated[tuple[str, ...], BeforeValidator(split_names)] = ()
    rows: int = Field(default=512, ge=8, le=1_000_000)

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Rewrite each network's file."""
        engine = quantizer_for(networks[0], datasets[0])
        out = []
        for network, dataset in zip(networks, datasets, strict=True):
            data, details = self.file(engine, network, inputs(dataset, "calibration", self.rows))
            out.append(replace(network, onnx=data, details={**network.details, **details}))
        if on_message is not None:
            on_message(f"{len(out)} network{'s' if len(out) > 1 else ''} {self.done}")
        return out

    def file(
        self, engine: BatchQuantizer, network: TrainedNetwork, rows: Tensor
    ) -> tuple[bytes, Mapping[str, Any]]:
        """Return the bytes of a network's file, and details for its card; `rows` [rows, …] are inputs to check it on."""
        raise TypeError(f"{type(self).__name__} does not define file()")
