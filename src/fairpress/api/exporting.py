"""Export models to the runtimes of phones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.api.opening import open_base
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.core.public_function import public_function
from fairpress.core.seeds import checked_seed
from fairpress.datasets import load as load_dataset
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.model_reference import Model, is_external, split_model

if TYPE_CHECKING:
    from fairpress.compression.executorch.export import ExecuTorchExport


@public_function
def export(
    base: Model,
    recipe: str = "fp32",
    *,
    data: Dataset | str | None = None,
    max_batch: int | None = None,
    max_length: int | None = None,
    seed: int | None = None,
    on_message: OnMessage | None = None,
) -> ExecuTorchExport:
    """Export a model to a program of ExecuTorch (``.pte``), lowered to XNNPACK, and check it; ``save`` writes it.

    Parameters
    ----------
    base
        A model folder or artifact with its float weights, or a Hugging Face folder.
    recipe
        ``"fp32"``, or ``"int8"`` with options such as ``int8(keep=LAYER)`` and ``int8(rounding=gptq)``: the weights have the
        integers of the ONNX file of the same recipe.
    data
        A dataset or its name; by default that of the card.
    max_batch
        The program reads 1 … `max_batch` rows a call; by default 256 for tables, 32 for images, and 1 for texts.
    max_length
        For a Hugging Face folder: the longest sequence of token ids.
    seed
        Seed of the choice of calibration rows; by default the card's.
    on_message
        Called with a progress message from time to time.

    Raises
    ------
    UserError
        The model cannot be exported, or the recipe has no counterpart in XNNPACK; see `export_program`.
    """
    from fairpress.compression.executorch.export import export_program
    from fairpress.compression.recipes import parse

    chosen = parse(recipe)
    if seed is not None:
        checked_seed(seed)
    refuse_file(base)
    dataset = load_dataset(data) if isinstance(data, str) else data
    artifact, dataset = open_base(base, dataset, max_length)
    return export_program(
        artifact,
        chosen,
        dataset,
        max_batch=max_batch,
        seed=artifact.card.seed or 0 if seed is None else seed,
        on_message=on_message,
    )


def refuse_file(base: Model) -> None:
    """Raise UserError where an export is asked of a model's file, which has no float weights of a network."""
    if not isinstance(base, Artifact | str | os.PathLike):
        raise UserError(
            f"an export needs a model folder or an artifact, not {type(base).__name__}; `fp.compress` takes modules."
        )
    reference, _ = split_model(base)
    if isinstance(reference, str | os.PathLike) and (is_external(base) or Path(reference).is_file()):
        raise UserError(
            f"{base} is a file of a model, and an export needs the network's float weights; name the model folder."
        )
