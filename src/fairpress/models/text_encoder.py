"""A small transformer encoder for texts, from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fairpress.datasets.dataset import Kind
from fairpress.models.channels import Channels

if TYPE_CHECKING:
    from torch import nn

    from fairpress.tokenization.tokenizer import TextTokenizer


class TextEncoder(BaseModel):
    """Token and position embeddings, blocks of attention and feed-forward layers (norms first), mean over tokens, classes.

    Attributes
    ----------
    vocabulary
        Number of token ids; of a tokenizer that is trained, the largest number of its pieces.
    max_length
        The longest sequence of token ids.
    pad_id
        The token id that is left out of attention and of the mean.
    channels
        Shapes of the tensors that pruning of heads and feed-forward units made smaller, from the card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = "text"
    reads: ClassVar[Kind] = "text"
    version: ClassVar[int] = 1

    layers: int = Field(default=2, ge=1, le=48)
    width: int = Field(default=128, ge=8, le=4096)
    heads: int = Field(default=4, ge=1, le=64)
    feedforward: int = Field(default=512, ge=8, le=16_384)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    vocabulary: int = Field(default=16_000, ge=4, le=1_000_000)
    max_length: int = Field(default=128, ge=4, le=4096)
    pad_id: int = Field(default=0, ge=0)
    channels: Channels = Field(default=(), exclude=True)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            nearest = self.heads * max(1, round(self.width / self.heads))
            raise ValueError(
                f"the width {self.width} is not a multiple of {self.heads} heads; take width={nearest}"
            )
        return self

    def sized(self, tokenizer: TextTokenizer) -> TextEncoder:
        """Return the config for the ids of a tokenizer."""
        return self.model_copy(
            update={
                "vocabulary": tokenizer.size,
                "max_length": tokenizer.max_length,
                "pad_id": tokenizer.pad_id,
            }
        )

    def build(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return the network: token ids [rows, length] int64 in, logits [rows, n_classes] out.

        Weights are drawn from torch's global generator; the caller seeds it.
        """
        from fairpress.models.pruned_shapes import apply_pruned_shapes
        from fairpress.models.text_encoder_network import EncoderNetwork

        network = EncoderNetwork(n_classes, **self.model_dump())
        apply_pruned_shapes(network, dict(self.channels))
        return network
