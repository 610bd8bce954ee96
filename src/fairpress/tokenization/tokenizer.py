"""A tokenizer as it is shipped: the bytes of tokenizer.json, and the maximum length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILE = "tokenizer.json"
MAX_TOKENIZER_BYTES = 256 << 20


def require_tokenizers(subject: str) -> None:
    """Raise MissingExtra unless the package tokenizers is installed."""
    if find_spec("tokenizers") is None:
        raise MissingExtra(subject, "text")


@contextmanager
def _one_sentence(problem: str) -> Iterator[None]:
    """Turn what the library raises into a UserError. Its panics are no Exceptions, since it is written in Rust."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"tokenizer.json {problem} ({reason[:200]}); save the tokenizer again.") from None


@dataclass(frozen=True)
class TokenIds:
    """Encoded texts.

    Attributes
    ----------
    ids
        ``int32`` [rows, maximum length], filled up with the padding id on the right.
    lengths
        ``int64`` [rows], numbers of token ids without padding, at least 1.
    truncated
        ``bool`` [rows], whether the text was longer than the maximum length and lost its end.
    """

    ids: np.ndarray
    lengths: np.ndarray
    truncated: np.ndarray


@dataclass(frozen=True)
class TextTokenizer:
    """How a model turns a text into token ids.

    Special tokens spelled out in a text, such as ``[PAD]``, are encoded as ordinary characters: padding comes from filling
    up alone.

    Attributes
    ----------
    data
        The bytes of ``tokenizer.json``, the format of Hugging Face's tokenizers.
    max_length
        The longest sequence of token ids, special tokens included; longer texts lose their end.
    pad_id
        The token id that fills up shorter sequences.
    """

    data: bytes
    max_length: int
    pad_id: int

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = self._untruncated()
        tokenizer.enable_truncation(self.max_length)
        return tokenizer

    def _untruncated(self) -> Tokenizer:
        require_tokenizers("Reading texts")
        from tokenizers import Tokenizer

        with _one_sentence("cannot be read"):
            tokenizer = Tokenizer.from_str(self.data.decode("utf-8"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return tokenizer

    @property
    def size(self) -> int:
        """Number of token ids, added tokens included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def max_id(self) -> int:
        """The largest token id; ids need not be consecutive."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0)

    def id_of(self, token: str) -> int | None:
        """Return the id of a token; None if there is no such token."""
        token_id: int | None = self._tokenizer.token_to_id(token)
        return token_id

    def token_types(self, text: str) -> list[int]:
        """Return the token type of each token id of a text; models that distinguish two sequences read it."""
        return list(self._tokenizer.encode(text).type_ids)

    def encode(self, texts: Sequence[str] | np.ndarray) -> TokenIds:
        """Return the token ids of texts [rows]. Raises UserError for tokenizer.json that cannot be read or used."""
        tokenizer = self._tokenizer
        with _one_sentence("cannot encode these texts"):
            encoded = tokenizer.encode_batch_fast(list(texts))
        lengths = np.array([max(len(e.ids), 1) for e in encoded], dtype=np.int64)
        ids = np.full((len(encoded), self.max_length), self.pad_id, dtype=np.int32)
        for row, e in enumerate(encoded):
            ids[row, : len(e.ids)] = e.ids
        truncated = np.array([bool(e.overflowing) for e in encoded], dtype=bool)
        return TokenIds(ids, lengths, truncated)

    def counts(self, texts: Sequence[str] | np.ndarray) -> np.ndarray:
        """Return how many token ids texts [rows] have, special tokens included, if none is cut: ``int64`` [rows].

        Raises UserError as `encode`.
        """
        tokenizer = self._untruncated()
        with _one_sentence("cannot encode these texts"):
            encoded = tokenizer.encode_batch_fast(list(texts))
        return np.array([len(e) for e in encoded], dtype=np.int64)

    def facts(self) -> dict[str, Any]:
        """Return the entries of a card's `inputs` from which, with tokenizer.json, `from_facts` makes it again."""
        return {
            "max_length": self.max_length,
            "pad_id": self.pad_id,
            "tokenizer": sha256(self.data).hexdigest(),
        }

    @classmethod
    def from_facts(cls, data: bytes, inputs: Mapping[str, Any]) -> TextTokenizer:
        """Return the tokenizer of a card's `inputs`. Raises UserError if tokenizer.json is another than the card's."""
        if inputs.get("tokenizer") != sha256(data).hexdigest():
            raise UserError(
                "tokenizer.json is not the one on the card; put the model's own back, or create the model again."
            )
        return cls(data, int(inputs["max_length"]), int(inputs["pad_id"]))
