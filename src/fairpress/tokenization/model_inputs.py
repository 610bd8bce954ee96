"""What the card of a model that reads texts records of its input."""

from __future__ import annotations

from typing import Any

from fairpress.tokenization.tokenizer import TextTokenizer

TOKEN_INPUT = "input_ids"


def model_inputs(tokenizer: TextTokenizer, truncated: float) -> dict[str, Any]:
    """Return a card's `inputs`; `truncated` is the share of training texts that are longer than the maximum length."""
    return {
        "name": TOKEN_INPUT,
        "kind": "text",
        "shape": [tokenizer.max_length],
        "dtype": "int32",
        "columns": [],
        **tokenizer.facts(),
        "truncated": truncated,
        "preparation": f"token ids of tokenizer.json, at most {tokenizer.max_length}; a longer text loses its end, and "
        f"in a batch shorter ones are filled up with {tokenizer.pad_id} on the right",
    }
