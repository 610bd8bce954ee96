"""Networks of transformers that read token ids alone and return logits."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairpress.core.errors import UserError
from fairpress.models.huggingface.transformers_calls import local_and_quiet, require_transformers
from fairpress.models.with_forward import with_forward


def configuration(config: Mapping[str, Any], n_outputs: int) -> Any:
    """Return the transformers configuration of a classifier. Raises UserError if the installed version has none."""
    require_transformers("A Hugging Face model")
    with local_and_quiet():
        from transformers import CONFIG_MAPPING, __version__

        kind = config["model_type"]
        if kind not in CONFIG_MAPPING:
            raise UserError(
                f"transformers {__version__} does not know models of type {kind!r}; install the version on the model's card."
            )
        result = CONFIG_MAPPING[kind].from_dict(dict(config))
    result.num_labels = n_outputs
    return result


def build_network(
    config: Mapping[str, Any],
    n_classes: int,
    *,
    pad_id: int,
    outputs: Sequence[int] | None = None,
    one_logit: bool = False,
) -> nn.Module:
    """Return a classifier [rows, length] int64 → logits [rows, n_classes] with weights drawn from torch's generator."""
    if one_logit and n_classes != 2:
        raise UserError(f"a model with one logit decides between two classes, not {n_classes}.")
    built = configuration(config, 1 if one_logit else n_classes)
    with local_and_quiet():
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_config(built)
    return reads_token_ids(model.float(), pad_id=pad_id, outputs=outputs, one_logit=one_logit)


def reads_token_ids(
    model: nn.Module, *, pad_id: int, outputs: Sequence[int] | None = None, one_logit: bool = False
) -> nn.Module:
    """Make a transformers classifier read token ids alone and return logits, in place; its tensors keep their names."""
    kind = type(model)
    # Models without a table of token types, such as GPT-2, look token types up in the table of words.
    zeros = "token_type_ids" in inspect.signature(kind.forward).parameters and bool(
        getattr(model.config, "type_vocab_size", 0)
    )
    order = None if outputs is None or list(outputs) == sorted(outputs) else list(outputs)

    def forward(self: nn.Module, ids: Tensor) -> Tensor:
        rest = {"token_type_ids": torch.zeros_like(ids)} if zeros else {}
        logits: Tensor = kind.forward(
            self, input_ids=ids, attention_mask=(ids != pad_id).long(), **rest
        ).logits
        if one_logit:
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return logits if order is None else logits[:, order]

    return with_forward(model, forward)
