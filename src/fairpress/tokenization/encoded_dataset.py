"""A dataset of texts as a model reads it: token ids in place of texts."""

from __future__ import annotations

from dataclasses import replace

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.tokenization.tokenizer import TextTokenizer


def encode_dataset(dataset: Dataset, tokenizer: TextTokenizer) -> Dataset:
    """Return the dataset with token ids of all its texts as inputs, ``int32`` [rows, maximum length].

    An encoded dataset is encoded again from its texts. Raises UserError for a dataset without texts.
    """
    if dataset.texts is None:
        kind = {"table": "a table without texts", "images": "images", "text": ""}[dataset.kind]
        raise UserError(
            f"the model reads texts and {dataset.name!r} is {kind}; use the data the model was trained on."
        )
    return replace(dataset, inputs=tokenizer.encode(dataset.texts).ids, pad_id=tokenizer.pad_id)
