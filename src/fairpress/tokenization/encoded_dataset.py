"""A dataset of texts as a model reads it: token ids in place of texts."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.tokenization.tokenizer import TextTokenizer

# Texts, tokenizer and ids of the last calls: a recipe reads the same texts at its start, after its steps and on its card.
_recent: deque[tuple[np.ndarray, TextTokenizer, np.ndarray]] = deque(maxlen=2)


def encode_dataset(dataset: Dataset, tokenizer: TextTokenizer) -> Dataset:
    """Return the dataset with token ids of all its texts as inputs, ``int32`` [rows, maximum length].

    An encoded dataset is encoded again from its texts. Raises UserError for a dataset without texts.
    """
    if dataset.texts is None:
        kind = {"table": "a table without texts", "images": "images", "text": ""}[dataset.kind]
        raise UserError(
            f"the model reads texts and {dataset.name!r} is {kind}; use the data the model was trained on."
        )
    for texts, same, ids in tuple(_recent):
        if texts is dataset.texts and same == tokenizer:
            return replace(dataset, inputs=ids, pad_id=tokenizer.pad_id)
    ids = tokenizer.encode(dataset.texts).ids
    _recent.appendleft((dataset.texts, tokenizer, ids))
    return replace(dataset, inputs=ids, pad_id=tokenizer.pad_id)


def truncated_rows(encoded: Dataset, index: np.ndarray, tokenizer: TextTokenizer) -> np.ndarray:
    """Return whether texts of an encoded dataset are longer than the maximum length: ``bool`` [len(index)].

    Only texts that reach the maximum length are encoded again.
    """
    assert encoded.texts is not None
    cut = np.zeros(len(index), dtype=bool)
    full = np.flatnonzero(encoded.inputs[index, -1] != tokenizer.pad_id)
    cut[full] = tokenizer.encode(encoded.texts[index[full]]).truncated
    return cut
