"""How many token ids a tokenizer makes of texts, whatever the maximum length of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fairpress.core.errors import UserError
from fairpress.tokenization.tokenizer import require_tokenizers

TOKENIZER = "tokenizer.json"


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
    require_tokenizers("Counting tokens")
    from tokenizers import Tokenizer

    file = path / TOKENIZER if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"there is no file {file}; name a {TOKENIZER}, or a folder that has one.")
    try:
        tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises plain Exception
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"{file} is not a tokenizer ({reason}); name a {TOKENIZER}.") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return np.array([len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts))], dtype=np.int64)
