"""The settings beside an exported program, with which `predict` runs it without a guess."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

from fairpress.core.card import ModelCard
from fairpress.runtime.external.config import ExternalModelConfig
from fairpress.runtime.external.engines.executorch import input_name, output_name


def settings_of(card: ModelCard, tokenizer_file: str | None) -> ExternalModelConfig:
    """Return the settings of the program of a model folder.

    Parameters
    ----------
    tokenizer_file
        The name of the tokenizer beside the program, where the model reads texts.
    """
    settings: dict[str, Any] = {
        "output": output_name(0),
        "activation": "softmax",
        "classes": card.classes,
        "threshold": card.threshold,
    }
    if tokenizer_file is not None:
        settings |= {
            "inputs": {input_name(0): "input_ids"},
            "tokenizer": tokenizer_file,
            "max_length": card.inputs["max_length"],
            "pad_id": card.inputs["pad_id"],
        }
    elif card.inputs.get("columns"):
        settings["columns"] = tuple(card.inputs["columns"])
    else:
        settings |= {"layout": "nchw", "scale": 1.0}
    return ExternalModelConfig(**settings)


def as_yaml(settings: ExternalModelConfig) -> str:
    """Return settings as the text of a ``model.yaml``."""
    from ruamel.yaml import YAML

    document: Mapping[str, Any] = {k: v for k, v in settings.model_dump(mode="json").items() if v is not None}
    sink = StringIO()
    YAML().dump(dict(document), sink)
    return sink.getvalue()
