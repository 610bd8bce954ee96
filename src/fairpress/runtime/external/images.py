"""Feed the images of a dataset to an external model: layout, range of pixel values, mean and deviation per channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.external.config import ExternalModelConfig, Layout
from fairpress.runtime.external.external_file import ExternalFile, FileInput

NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


def plan_images(
    file: ExternalFile,
    config: ExternalModelConfig,
    dataset: Dataset,
    source_name: str,
    guessed: list[str],
) -> tuple[Layout, float]:
    """Return the layout, and the divisor of pixel values (0 to 255).

    Raises UserError if the model does not read such images, or if its input is ambiguous.
    """
    inputs = file.inputs
    if config.columns is not None or config.inputs is not None:
        raise UserError(
            f"{source_name}: {dataset.name!r} has images, not columns; omit `columns` and `inputs`."
        )
    if len(inputs) != 1 or len(inputs[0].shape or ()) != 4:
        raise UserError(
            f"the model does not read images: it needs one input of four dimensions, but has {_format_inputs(inputs)}."
        )
    if inputs[0].type not in NUMPY:
        raise UserError(
            f"the model's input {inputs[0].name!r} takes {inputs[0].type}, which is not supported for images; export "
            "the model with an input of float32 or uint8."
        )
    channels, height, width = dataset.inputs.shape[1:]
    shape = inputs[0].shape or ()
    layout = config.layout or _layout(shape, channels, source_name, guessed)
    input_shape = shape[1:] if layout == "nchw" else (shape[3], *shape[1:3])
    for expected, actual in zip(input_shape, (channels, height, width), strict=True):
        if isinstance(expected, int) and expected != actual:
            expected_shape = " × ".join(str(v) if isinstance(v, int) else "any" for v in input_shape)
            raise UserError(
                f"the model reads images of {expected_shape} (channels, height, width), {dataset.name!r} has {channels} × "
                f"{height} × {width}; load the data at that `size`, or set `layout` in {source_name}."
            )
    if config.scale is not None:
        return layout, config.scale
    if inputs[0].type == "tensor(uint8)":
        guessed.append("scale")
        return layout, 1.0
    hint = next((f" ({note})" for note in file.engine.notes if repr(inputs[0].name) in note), "")
    raise UserError(
        f"the file does not specify the range of pixel values{hint}; set in {source_name} `scale: 255` for 0 to 1, or "
        "`scale: 1` for 0 to 255, and `mean` and `std` if it expects them subtracted and divided."
    )


def _layout(shape: Sequence[int | None], channels: int, source_name: str, guessed: list[str]) -> Layout:
    first, last = shape[1] == channels, shape[3] == channels
    if first == last:
        raise UserError(
            f"the model's input has the shape {list(shape)}, which does not determine the position of the channels; "
            "set `layout: nchw` "
            f"or nhwc in {source_name}."
        )
    guessed.append("layout")
    return "nchw" if first else "nhwc"


def feed_images(
    file: ExternalFile, config: ExternalModelConfig, dataset: Dataset, rows: np.ndarray, source_name: str
) -> dict[str, np.ndarray]:
    """Return the array that the model's input reads for these rows."""
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
            f"{source_name}: the model takes whole pixel values (uint8); omit `scale`, `mean` and `std`."
        )
    if config.layout == "nhwc":
        pixels = pixels.transpose(0, 2, 3, 1)
    return {spec.name: np.ascontiguousarray(pixels.astype(NUMPY[spec.type], copy=False))}


def _format_inputs(inputs: Sequence[FileInput]) -> str:
    return ", ".join(
        f"{i.name} {list(i.shape) if i.shape is not None else 'of unknown rank'}" for i in inputs
    )
