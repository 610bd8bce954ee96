"""How many token ids a tokenizer makes of texts, whatever the maximum length of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fairpress.core.errors import MissingExtra, UserError
from fairpress.core.json_file import read_regular
from fairpress.tokenization.tokenizer import MAX_TOKENIZER_BYTES, TOKENIZER_FILE, TextTokenizer


def token_counts(path: Path, texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return the number of token ids of each text, special tokens included, ``int64`` [rows].

    Parameters
    ----------
    path
        A ``tokenizer.json``, or a folder that has one, such as a model's.
    texts
        [rows].

    Raises
    ------
    UserError
        There is no such file, or it is not a tokenizer.
    MissingExtra
        The package tokenizers is not installed.
    """
    file = path / TOKENIZER_FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"there is no file {file}; name a {TOKENIZER_FILE}, or a folder that has one.")
    tokenizer = TextTokenizer(read_regular(file, "a tokenizer", MAX_TOKENIZER_BYTES), max_length=1, pad_id=0)
    try:
        return tokenizer.counts(texts)
    except MissingExtra:
        raise
    except UserError as error:
        raise UserError(f"{file} is not a tokenizer: {error}") from None
