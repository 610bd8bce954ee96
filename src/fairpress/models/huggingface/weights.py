"""Load the weights of a Hugging Face folder, safetensors only."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairpress.core.errors import UserError, listed
from fairpress.models.huggingface.transformers_calls import local_and_quiet


def load_into(network: nn.Module, folder: Path) -> dict[str, Any]:
    """Load a folder's weights into a network from `HuggingFace.build`, and return their provenance.

    The tensors of the head, and of the pooler before it, keep their values where the folder has none of their shape.

    Raises
    ------
    UserError
        The weights cannot be read, or other tensors are missing.
    """
    state, absent = _read(network, folder)
    prefix = f"{getattr(network, 'base_model_prefix', '')}."
    missing = [name for name in absent if name.startswith(prefix) and "pooler" not in name]
    if missing:
        raise UserError(
            f"{folder} lacks weights of the network in its config.json: {missing[0]!r} is missing or has another shape "
            f"({len(missing)} of {len(state)} tensors); save the model again with model.save_pretrained."
        )
    drawn = network.state_dict()
    network.load_state_dict({name: drawn[name] if name in absent else value for name, value in state.items()})
    return {"file": folder.name, "sha256": digest(folder), "drawn_anew": sorted(absent)}


def load_classifier(network: nn.Module, folder: Path) -> dict[str, Any]:
    """Load the weights of a classifier, all of them, and return their provenance. Raises UserError if some are missing."""
    state, absent = _read(network, folder)
    if absent:
        raise UserError(
            f"{folder} lacks {len(absent)} of the {len(state)} tensors of its classifier ({listed(sorted(absent), 3)}); "
            "fine-tune the model and save it again, or give it to `fairpress train text --backbone`."
        )
    network.load_state_dict(state)
    return {"file": folder.name, "sha256": digest(folder), "drawn_anew": []}


def _read(network: nn.Module, folder: Path) -> tuple[dict[str, Tensor], set[str]]:
    """Return a folder's state in float32 with the names of a network, and the names that the folder does not have."""
    with local_and_quiet(), torch.random.fork_rng(devices=[]):
        from transformers import AutoModelForSequenceClassification

        try:
            model, report = AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                config=network.config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as error:  # transformers raises whatever its parts raise
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(
                f"the weights in {folder} cannot be read ({reason[:200]}); save the model again with model.save_pretrained."
            ) from None
    other_shape = {entry[0] if isinstance(entry, tuple) else entry for entry in report["mismatched_keys"]}
    return dict(model.state_dict()), set(report["missing_keys"]) | other_shape


def digest(folder: Path) -> str:
    """Return the sha256 of a folder's weights, its safetensors files in the order of their names."""
    total = hashlib.sha256()
    for file in sorted(folder.glob("model*.safetensors")):
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
