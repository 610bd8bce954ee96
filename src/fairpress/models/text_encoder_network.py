"""The network of `text_encoder.TextEncoder`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MASKED = -1e4  # added to the attention scores of padding; its exponential is 0 in float32


class SelfAttention(nn.Module):
    """Multi-head self-attention; the number of heads follows from the size of `query`, so that heads can be removed."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.head_dim, self.dropout = width // heads, dropout
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [rows, length, width]; `mask` [rows, 1, 1, length] is added to the scores."""
        heads = self.query.out_features // self.head_dim
        query, key, value = (
            layer(x).unflatten(-1, (heads, self.head_dim)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, mask, dropout_p=self.dropout if self.training else 0.0
        )
        result: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return result


class EncoderBlock(nn.Module):
    """Attention and feed-forward layer, each behind a norm and beside a residual connection."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, dropout)
        self.feedforward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, feedforward)
        self.contract = nn.Linear(feedforward, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        hidden = nn.functional.gelu(self.expand(self.feedforward_norm(x)))
        return x + self.dropout(self.contract(hidden))


class EncoderNetwork(nn.Module):
    """Token ids [rows, length] int64 in, logits [rows, classes] out; padding changes no answer."""

    def __init__(
        self,
        n_classes: int,
        *,
        layers: int,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float,
        vocabulary: int,
        max_length: int,
        pad_id: int,
    ) -> None:
        super().__init__()
        self.pad_id = pad_id
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(max_length, width)
        for table in (self.embedding, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, feedforward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, n_classes)

    def forward(self, ids: Tensor) -> Tensor:
        present = (ids != self.pad_id).float()
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.dropout(self.embedding(ids) + self.positions(places))
        mask = ((1 - present) * MASKED)[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x) * present[:, :, None]
        mean = x.sum(1) / present.sum(1, keepdim=True).clamp(min=1)
        logits: Tensor = self.classify(mean)
        return logits
