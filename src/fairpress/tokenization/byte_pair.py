"""Byte-pair tokenizers (Sennrich et al. 2016), trained on the texts of training rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairpress.core.errors import UserError
from fairpress.tokenization.tokenizer import TextTokenizer, require_tokenizers

SPECIAL = ("[PAD]", "[CLS]")
SMALLEST = 256 + len(SPECIAL)


def train_byte_pair(texts: Sequence[str] | np.ndarray, vocabulary: int, max_length: int) -> TextTokenizer:
    """Return a tokenizer of at most `vocabulary` pieces, merged from bytes of NFC-normalised text; no text is unknown to it.

    Every sequence starts with ``[CLS]``. Equal texts give equal tokenizers. Raises UserError for fewer pieces than bytes.
    """
    if vocabulary < SMALLEST:
        raise UserError(
            f"a tokenizer of bytes has at least {SMALLEST} pieces, not {vocabulary}; set vocabulary={SMALLEST} or more."
        )
    require_tokenizers("Training a tokenizer")
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", SPECIAL.index("[CLS]"))]
    )
    return TextTokenizer(tokenizer.to_str().encode("utf-8"), max_length, SPECIAL.index("[PAD]"))
