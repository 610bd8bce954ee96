"""Token ids for a benchmark: texts of the dataset cut to one length, or random ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.backends.base import Input
from fairpress.runtime.onnx.embedding_table import embedding_rows
from fairpress.tokenization.tokenizer import TextTokenizer

DEFAULT_LENGTH = 64
ROWS = 256
MAX_JOINED = 512


def reads_token_ids(spec: Input) -> bool:
    """Return whether an input [rows, length] of integers reads token ids: its length is free."""
    return len(spec.shape) == 2 and spec.shape[1] is None and spec.dtype in (np.int32, np.int64)


def choose_length(length: int | None, longest: Mapping[str, int | None]) -> int:
    """Return the number of token ids of every text: `length`, or 64, or less where a model reads no more.

    Parameters
    ----------
    longest
        Model → the maximum length on its card; None if it has no card.

    Raises
    ------
    UserError
        The length is below 1, or a model reads no texts of that length.
    """
    known = {name: limit for name, limit in longest.items() if limit is not None}
    if length is None:
        return min([DEFAULT_LENGTH, *known.values()])
    if length < 1:
        raise UserError(f"`length={length}` is too small; use at least 1 token id.")
    for name, limit in known.items():
        if length > limit:
            raise UserError(
                f"`length={length}` is too large: model {name!r} reads at most {limit:,} token ids of a text."
            )
    return length


def token_rows(
    spec: Input,
    onnx: bytes,
    tokenizer: TextTokenizer | None,
    dataset: Dataset | None,
    length: int,
    seed: int = 0,
) -> tuple[np.ndarray, str]:
    """Return token ids [rows, length] without padding, and their source.

    Validation texts, encoded by the model's tokenizer; texts that are too short are followed by the next ones. Without a
    tokenizer or texts: random ids of the model's embedding.
    """
    if tokenizer is not None and dataset is not None and dataset.texts is not None:
        index = dataset.parts.get("validation", np.arange(0))[:ROWS]
        ids = _joined(dataset.texts[index], tokenizer, length) if len(index) else None
        if ids is not None:
            return ids.astype(spec.dtype), f"{length} token ids of validation texts of {dataset.name}"
    known = embedding_rows(onnx, spec.name)
    if known is None:
        raise UserError("its token ids cannot be generated: it looks them up in no stored table.")
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, known, (ROWS, length))
    pad_id = None if tokenizer is None else tokenizer.pad_id
    if pad_id is not None:
        ids[ids == pad_id] = (pad_id + 1) % known
    return ids.astype(spec.dtype), f"{length} random token ids"


def _joined(texts: np.ndarray, tokenizer: TextTokenizer, length: int) -> np.ndarray | None:
    """Return ids [rows, length], each of a text and as many of those after it as it takes; None if that is not enough."""
    cut = TextTokenizer(tokenizer.data, length, tokenizer.pad_id)
    count = 1
    while count <= MAX_JOINED:
        places = (np.arange(len(texts))[:, None] + np.arange(count)) % len(texts)
        encoded = cut.encode([" ".join(row) for row in texts[places].tolist()])
        if int(encoded.lengths.min()) == length:
            return encoded.ids
        count *= 2
    return None


def maximum_length(inputs: Mapping[str, Any]) -> int | None:
    """Return the maximum length on a card's `inputs`; None for models that do not read texts."""
    return int(inputs["max_length"]) if inputs.get("kind") == "text" else None
