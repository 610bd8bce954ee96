"""A small text encoder, trained for a moment on the texts of `tiny_texts`, as a model folder would hold it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from fairpress.datasets.dataset import Dataset
from fairpress.models.export import export_many
from fairpress.models.registry import build
from fairpress.models.text_encoder import TextEncoder
from fairpress.models.weights_io import to_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.tokenization.encoded_dataset import encode_dataset
from fairpress.training.data import tensors
from tiny_texts import CLASSES, WORDS, sentences, text_artifact, text_dataset, tokenizer

MAX_LENGTH = 24


@cache
def dataset() -> Dataset:
    """Texts whose mood is that of the word they begin with; rows in four parts."""
    rows = 400
    texts, languages = sentences(rows, 3, longest=12)
    moods = {word: i % 3 for words in WORDS.values() for i, word in enumerate(words)}
    labels = np.array([moods[text.split()[0]] for text in texts])
    parts = {
        "train": np.arange(200),
        "calibration": np.arange(200, 264),
        "validation": np.arange(264, 328),
        "test": np.arange(328, 400),
    }
    return replace(
        text_dataset(rows),
        texts=texts,
        inputs=texts,
        labels=labels,
        attributes={"language": languages},
        parts=parts,
    )


def architecture() -> TextEncoder:
    return TextEncoder(layers=2, width=32, heads=4, feedforward=64, dropout=0.0).sized(tokenizer(MAX_LENGTH))


@cache
def encoder(seed: int = 0) -> Artifact:
    """The trained encoder with its file, weights and tokenizer."""
    config, data = architecture(), encode_dataset(dataset(), tokenizer(MAX_LENGTH))
    module = build(config, (MAX_LENGTH,), len(CLASSES), seed)
    rows = tensors(data, "train")
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(60):
        batch = torch.randint(len(rows.labels), (64,), generator=generator)
        loss = torch.nn.functional.cross_entropy(module(rows.inputs[batch]), rows.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()
    example = rows.inputs[:2]
    (file,) = export_many(module, [module.state_dict()], example, key=config)
    card = text_artifact(file, tokenizer(MAX_LENGTH)).card
    described = replace(card, architecture={"name": "text", **config.model_dump(mode="json")})
    return Artifact(described, file, to_bytes(module.state_dict()), tokenizer=tokenizer(MAX_LENGTH).data)
