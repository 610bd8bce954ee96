"""The table of token embeddings of a network that reads texts."""

from __future__ import annotations

from torch import nn

from fairpress.core.errors import UserError
from fairpress.models.text_encoder_network import EncoderNetwork


def token_embedding(module: nn.Module) -> str:
    """Return the name of the table [token ids, width] in the state of a network.

    That of the encoder from scratch, or of a Hugging Face model inside the network. Raises UserError for other networks.
    """
    for name, part in module.named_modules():
        table = part.embedding if isinstance(part, EncoderNetwork) else None
        if hasattr(part, "get_input_embeddings"):
            table = part.get_input_embeddings()
        if isinstance(table, nn.Embedding):
            inside = next(n for n, child in part.named_modules() if child is table)
            return ".".join(filter(None, (name, inside, "weight")))
    raise UserError(
        f"{type(module).__name__} has no table of token embeddings that fairpress supports; use a network of architecture "
        "text, or a Hugging Face model."
    )
