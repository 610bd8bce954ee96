"""Feed a dataset's images to a model made elsewhere: layout, range of pixel values, mean and deviation per channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.external.config import ExternalModelConfig, Layout
from fairpress.runtime.external.onnx_model import ExternalOnnxFile, FileInput

NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


def plan_images(
    file: ExternalOnnxFile, said: ExternalModelConfig, dataset: Dataset, where: str, guessed: list[str]
) -> tuple[Layout, float]:
    """Return the layout and what pixel values (0 to 255) are divided by.

    Raises UserError when the model does not read such images, or what it reads has several answers.
    """
    found = file.inputs
    if said.columns is not None or said.inputs is not None:
        raise UserError(
            f"{where}: {dataset.name!r} has images and no columns; leave `columns` and `inputs` out."
        )
    if len(found) != 1 or len(found[0].shape or ()) != 4:
        raise UserError(
            f"the model does not read images: it needs one input of four dimensions, and not {_shapes(found)}."
        )
    if found[0].type not in NUMPY:
        raise UserError(
            f"the model's input {found[0].name!r} takes {found[0].type}, which images are not handed over in; export "
            "the model with an input of float32 or uint8."
        )
    channels, height, width = dataset.inputs.shape[1:]
    shape = found[0].shape or ()
    layout = said.layout or _layout(shape, channels, where, guessed)
    reads = shape[1:] if layout == "nchw" else (shape[3], *shape[1:3])
    for asked, has in zip(reads, (channels, height, width), strict=True):
        if isinstance(asked, int) and asked != has:
            wanted = " × ".join(str(v) if isinstance(v, int) else "any" for v in reads)
            raise UserError(
                f"the model reads images of {wanted} (channels, height, width), {dataset.name!r} has {channels} × "
                f"{height} × {width}; load the data at that `size`, or say `layout` in {where}."
            )
    if said.scale is not None:
        return layout, said.scale
    if found[0].type == "tensor(uint8)":
        guessed.append("scale")
        return layout, 1.0
    raise UserError(
        f"the file does not say which pixel values the model expects; say in {where} `scale: 255` for 0 to 1, or `scale: 1` "
        "for 0 to 255, and `mean` and `std` if it expects them subtracted and divided."
    )


def _layout(shape: Sequence[int | None], channels: int, where: str, guessed: list[str]) -> Layout:
    first, last = shape[1] == channels, shape[3] == channels
    if first == last:
        raise UserError(
            f"the model's input has the shape {list(shape)}, which does not tell where the channels are; say `layout: nchw` "
            f"or nhwc in {where}."
        )
    guessed.append("layout")
    return "nchw" if first else "nhwc"


def feed_images(
    file: ExternalOnnxFile, config: ExternalModelConfig, dataset: Dataset, rows: np.ndarray, where: str
) -> dict[str, np.ndarray]:
    """Return what the model's input reads for some rows."""
    spec = file.inputs[0]
    pixels = np.asarray(dataset.inputs[rows])
    if spec.type != "tensor(uint8)":
        pixels = pixels.astype(np.float32) / np.float32(config.scale or 1.0)
        if config.mean is not None or config.std is not None:
            mean, std = (
                np.asarray(v, np.float32).reshape(-1, 1, 1)
                for v in (config.mean or (0.0,), config.std or (1.0,))
            )
            pixels = (pixels - mean) / std
    elif config.scale != 1 or config.mean is not None or config.std is not None:
        raise UserError(
            f"{where}: the model takes whole pixel values (uint8); leave `scale`, `mean` and `std` out."
        )
    if config.layout == "nhwc":
        pixels = pixels.transpose(0, 2, 3, 1)
    return {spec.name: np.ascontiguousarray(pixels.astype(NUMPY[spec.type], copy=False))}


def _shapes(inputs: Sequence[FileInput]) -> str:
    return ", ".join(
        f"{i.name} {list(i.shape) if i.shape is not None else 'of unknown rank'}" for i in inputs
    )
