"""A transformers classifier as an artifact in memory: checked ONNX file, weights, tokenizer and card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import nn

from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.reload import dataset_facts
from fairpress.models import registry
from fairpress.models.equivalence import check_rows
from fairpress.models.export import export_many
from fairpress.models.huggingface.architecture import HuggingFace, network_config
from fairpress.models.huggingface.folder import open_classifier
from fairpress.models.huggingface.labels import match_outputs
from fairpress.models.huggingface.tokenizer_files import fitted, tokenizer_json
from fairpress.models.huggingface.transformers_calls import require_transformers
from fairpress.models.huggingface.weights import load_classifier
from fairpress.models.weights_io import to_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.text_predictions import UNKNOWN_TRAINING_ROWS
from fairpress.tokenization.encoded_dataset import encode_dataset, truncated_rows
from fairpress.tokenization.model_inputs import model_inputs
from fairpress.tokenization.padding import trim_padding
from fairpress.tokenization.tokenizer import TextTokenizer

MAX_CHECKED = 512
SHORTEST = 2  # torch.export takes a length of one for a constant


def artifact_of_folder(
    folder: str | os.PathLike[str], dataset: Dataset, max_length: int | None = None
) -> Artifact:
    """Return the classifier in a folder as an artifact for a dataset of texts.

    Parameters
    ----------
    dataset
        Its classes are matched with the outputs by name; its texts check the exported file.
    max_length
        The longest sequence of token ids; by default that of the folder's tokenizer.

    Raises
    ------
    UserError
        The folder is not that of a classifier (`folder.open_classifier`), or its outputs are not the classes of the data.
    EquivalenceError
        The exported file does not give the outputs of the network.
    """
    opened = open_classifier(folder, max_length)
    architecture = _architecture(
        opened.config, opened.outputs, opened.tokenizer, dataset, f"{opened.path / 'config.json'}"
    )
    network = registry.build(architecture, opened.tokenizer.max_length, len(dataset.task.classes))
    started = load_classifier(network, opened.path)
    return _artifact(architecture, network, opened.tokenizer, dataset, {"started_from": started})


def artifact_of_model(
    model: nn.Module, tokenizer: Any, dataset: Dataset, max_length: int | None = None
) -> Artifact:
    """Return a transformers classifier and its tokenizer as an artifact, as `artifact_of_folder`; neither is changed.

    Raises UserError also for a model whose class is not one of transformers' own.
    """
    require_transformers("A Hugging Face model")
    name = type(model).__name__
    if not name.endswith("ForSequenceClassification"):
        raise UserError(
            f"{name} is not a classifier of texts; give a model of AutoModelForSequenceClassification, fine-tuned."
        )
    config = json_config(model)
    text_tokenizer = fitted(
        tokenizer_json(tokenizer),
        {"pad_token": tokenizer.pad_token, "model_max_length": tokenizer.model_max_length},
        config,
        max_length,
        name,
    )
    outputs = tuple(str(v) for _, v in sorted(model.config.id2label.items(), key=lambda item: int(item[0])))
    architecture = _architecture(config, outputs, text_tokenizer, dataset, "model.config")
    network = registry.build(architecture, text_tokenizer.max_length, len(dataset.task.classes))
    state = {key: value.detach().cpu().float() for key, value in model.state_dict().items()}
    expected = network.state_dict()
    different = [
        k
        for k in expected.keys() | state.keys()
        if k not in expected or k not in state or expected[k].shape != state[k].shape
    ]
    if type(network).__bases__[0] is not type(model) or different:
        raise UserError(
            f"{name} is not the network that its config describes, since it was changed after it was made; pass it without "
            "`tokenizer=`, with batches of token ids as `data=`."
        )
    network.load_state_dict(state)
    return _artifact(architecture, network, text_tokenizer, dataset, {})


def likely_positive(model: nn.Module) -> str | None:
    """Return the name of the second of two outputs, or of the only one; ``1`` where it has none, None for more outputs."""
    names = dict(getattr(getattr(model, "config", None), "id2label", None) or {})
    if len(names) > 2:
        return None
    name = str(names[max(names)]) if names else "LABEL_1"
    return "1" if name.startswith("LABEL_") else name


def json_config(model: nn.Module) -> dict[str, Any]:
    """Return a transformers model's configuration as config.json has it."""
    return dict(model.config.to_dict())


def _architecture(
    config: Mapping[str, Any],
    outputs: tuple[str, ...],
    tokenizer: TextTokenizer,
    dataset: Dataset,
    source: str,
) -> HuggingFace:
    order = match_outputs(outputs, dataset.task, source)
    return HuggingFace(
        config=network_config(config),
        max_length=tokenizer.max_length,
        pad_id=tokenizer.pad_id,
        outputs=None if list(order) == sorted(order) else order,
        one_logit=len(outputs) == 1,
    )


def _artifact(
    architecture: HuggingFace,
    network: nn.Module,
    tokenizer: TextTokenizer,
    dataset: Dataset,
    provenance: Mapping[str, Any],
) -> Artifact:
    task = dataset.task
    encoded = encode_dataset(dataset, tokenizer)
    index = dataset.index("calibration" if len(dataset.parts.get("calibration", ())) else "train")
    rows = trim_padding(encoded.inputs[index[:MAX_CHECKED]], tokenizer.pad_id, SHORTEST)
    ids = check_rows(torch.from_numpy(rows.astype(np.int64)))
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    (file,) = export_many(network.eval(), [state], ids[:2], None, [ids])
    truncated = truncated_rows(encoded, dataset.index("train"), tokenizer)
    card = ModelCard(
        target=task.target,
        classes=task.classes,
        positive=task.positive,
        architecture={"name": architecture.name, **architecture.model_dump(mode="json")},
        inputs=model_inputs(tokenizer, float(truncated.mean()) if len(truncated) else 0.0),
        data=dataset_facts(dataset),
        provenance={
            "imported": {
                "from": "transformers",
                "attention": getattr(network.config, "_attn_implementation", None),
            },
            **provenance,
            "warnings": [UNKNOWN_TRAINING_ROWS],
            "parameters": int(sum(p.numel() for p in network.parameters())),
            "versions": {
                name: version(name) for name in ("torch", "transformers", "tokenizers", "onnx", "onnxscript")
            },
        },
    )
    return Artifact(card, file, to_bytes(state), tokenizer=tokenizer.data)
