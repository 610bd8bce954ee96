"""Read and check a folder that transformers wrote: config.json, weights as safetensors, tokenizer."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError, listed
from fairpress.core.json_file import parse_json, read_regular
from fairpress.core.places import nearest_existing
from fairpress.models.huggingface.backbones import BACKBONES, backbone_folder
from fairpress.models.huggingface.tokenizer_files import read_tokenizer
from fairpress.models.huggingface.transformers_calls import local_and_quiet, require_transformers
from fairpress.tokenization.tokenizer import TextTokenizer

CONFIG_FILE = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "pytorch_model.pt")
MAX_CONFIG_BYTES = 16 << 20
CLASSIFIER = "ForSequenceClassification"
WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForSeq2SeqLM")  # models that write text


@dataclass(frozen=True)
class HuggingFaceFolder:
    """What a folder holds besides its weights.

    Attributes
    ----------
    config
        The content of config.json, with the sizes that transformers assumes where it names none.
    tokenizer
        With the maximum length that was chosen.
    """

    path: Path
    config: Mapping[str, Any]
    tokenizer: TextTokenizer

    @property
    def has_head(self) -> bool:
        """Whether the weights are those of a classifier of sequences."""
        return any(name.endswith(CLASSIFIER) for name in _architectures(self.config))

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs in their order (id2label)."""
        names = self.config.get("id2label") or {}
        return tuple(str(names[key]) for key in sorted(names, key=int)) or ("LABEL_0", "LABEL_1")


def open_folder(folder: str | os.PathLike[str], max_length: int | None = None) -> HuggingFaceFolder:
    """Return what a folder, or a named backbone, holds besides its weights, which must be safetensors.

    Parameters
    ----------
    max_length
        The longest sequence of token ids; by default that of the tokenizer, at most 512 and at most the model's positions.

    Raises
    ------
    MissingExtra
        transformers is not installed.
    UserError
        The folder lacks a file, has pickled weights only, needs code of its own, holds a model that writes text, or its
        tokenizer does not fit.
    """
    require_transformers("Reading a Hugging Face model")
    name = os.fspath(folder)
    path = backbone_folder(name) if name in BACKBONES else Path(name).expanduser()
    if not os.path.isdir(path):
        known = f", or a backbone by its name ({', '.join(BACKBONES)})"
        raise UserError(
            f"there is no folder {name}; give a folder that save_pretrained wrote{known}."
            + nearest_existing(path)
        )
    raw = _read_config(path)
    _require_weights(path)
    _refuse_writers(path, raw)
    config = _completed(path, raw)
    return HuggingFaceFolder(path, config, read_tokenizer(path, config, max_length))


def open_classifier(folder: str | os.PathLike[str], max_length: int | None = None) -> HuggingFaceFolder:
    """Return what the folder of a classifier holds; as `open_folder`, and UserError for a model without such a head."""
    opened = open_folder(folder, max_length)
    if not opened.has_head:
        kind = listed(_architectures(opened.config)) or "no architecture named in config.json"
        raise UserError(
            f"{opened.path} has no classification head ({kind}); fine-tune it with `fairpress train text --backbone "
            f"{shlex.quote(str(opened.path))} --data … --out …`."
        )
    problem = opened.config.get("problem_type")
    if problem == "regression" or (problem == "multi_label_classification" and len(opened.outputs) > 1):
        described = (
            "predicts a number" if problem == "regression" else "decides several labels of a text at once"
        )
        raise UserError(
            f"{opened.path} {described} (problem_type {problem!r}); fairpress compares one class for each text: train a "
            "classifier, or pass a module whose forward returns a logit per class to fairpress.compress."
        )
    return opened


def _architectures(config: Mapping[str, Any]) -> list[str]:
    return [str(name) for name in config.get("architectures") or []]


def _read_config(path: Path) -> dict[str, Any]:
    file = path / CONFIG_FILE
    if not file.is_file():
        raise UserError(
            f"{path} has no {CONFIG_FILE}, so it is not a Hugging Face model; save it with model.save_pretrained."
        )
    config = parse_json(
        read_regular(file, "a model's configuration", MAX_CONFIG_BYTES),
        str(file),
        MAX_CONFIG_BYTES,
        remedy="save the model again with model.save_pretrained",
        finite=False,
    )
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UserError(
            f"{file} names no model_type, so it is not the configuration of a transformers model; save the model again with "
            "model.save_pretrained."
        )
    return config


def _require_weights(path: Path) -> None:
    if any((path / name).is_file() for name in WEIGHTS):
        return
    pickled = [name for name in PICKLED if (path / name).is_file()]
    if pickled:
        command = (
            "from sys import argv; from transformers import AutoModelForSequenceClassification as M; "
            "M.from_pretrained(argv[1]).save_pretrained(argv[1])"
        )
        raise UserError(
            f"{path} has its weights as a pickle only ({pickled[0]}), which can run any code when it is opened; if you "
            f"trust its author, convert it to safetensors: python -c {shlex.quote(command)} {shlex.quote(str(path))}"
        )
    raise UserError(
        f"{path} has no weights (model.safetensors); save the model with model.save_pretrained, or copy the whole folder."
    )


def _refuse_writers(path: Path, config: Mapping[str, Any]) -> None:
    """Raise UserError for models that write text, need code of their own, or are quantized already."""
    kinds = _architectures(config)
    if any(name.endswith(WRITERS) for name in kinds):
        raise UserError(
            f"{path} is a language model that writes text ({listed(kinds)}), not a classifier; give a folder of "
            "AutoModelForSequenceClassification, or an encoder such as BERT as the backbone of a training."
        )
    if config.get("quantization_config"):
        method = config["quantization_config"].get("quant_method", "unknown method")
        raise UserError(
            f"{path} is quantized already ({method}); give the model in floating point, before it was quantized."
        )


def _completed(path: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with its vocabulary size and padding id, and the names of its outputs."""
    with local_and_quiet():
        from transformers import CONFIG_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, __version__

        kind = raw["model_type"]
        known = CONFIG_MAPPING[kind] if kind in set(CONFIG_MAPPING.keys()) else None
        if known is None or known not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
            origin = " from code of its own, which fairpress never runs" if raw.get("auto_map") else ""
            raise UserError(
                f"{path} is a model of type {kind!r}{origin}, which transformers {__version__} cannot load as a classifier; "
                "export it to ONNX, and name the .onnx file."
            )
        try:
            config = known.from_dict(dict(raw))
        except Exception as error:  # a configuration class may raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(
                f"{path / CONFIG_FILE} is not a valid configuration of {kind!r} ({reason}); save the model again with "
                "model.save_pretrained."
            ) from None
    completed = {
        **raw,
        "vocab_size": getattr(config, "vocab_size", None),
        "pad_token_id": getattr(config, "pad_token_id", None),
        "id2label": {str(key): str(value) for key, value in (config.id2label or {}).items()},
    }
    try:
        positions = config.max_position_embeddings
    except (AttributeError, NotImplementedError):  # models without position embeddings
        positions = None
    if isinstance(positions, int) and "max_position_embeddings" not in raw and "n_positions" not in raw:
        completed["max_position_embeddings"] = positions
    return json.loads(json.dumps(completed))
