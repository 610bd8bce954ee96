"""`nn.MultiheadAttention` with fewer heads than its width holds: torch's own takes the size of a head from the width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def is_plain(part: nn.Module) -> bool:
    """Tell whether a layer is a multi-head attention whose heads can be removed: one matrix of inputs, nothing added."""
    return (
        isinstance(part, nn.MultiheadAttention)
        and type(part) in (nn.MultiheadAttention, FewerHeads)
        and part._parameters.get("in_proj_weight") is not None
        and part.bias_k is None
        and part.bias_v is None
        and not part.add_zero_attn
    )


class FewerHeads(nn.MultiheadAttention):
    """Multi-head attention whose `num_heads` · `head_dim` may be smaller than the width that it reads and returns.

    Tensors and arguments are those of `nn.MultiheadAttention`. An attention becomes one by `remove_heads`.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the outputs, shaped like `query`, and the weights of attention if they are needed, else None."""
        batched = query.dim() == 3
        read = [query, key, value]
        if not batched:
            read = [x.unsqueeze(0) for x in read]
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            read = [x.transpose(0, 1) for x in read]
        q, k, v = (
            x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for x in self._projected(*read, same=query is key and key is value)
        )
        mask = self._mask(attn_mask, key_padding_mask, q)
        dropout = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            weights = F.dropout(weights, dropout) if dropout else weights
            out = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            out = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        out = self.out_proj(out.transpose(1, 2).flatten(2))
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return (out if self.batch_first else out.transpose(0, 1)), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, *, same: bool) -> tuple[Tensor, ...]:
        if same:
            return F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        weights = self.in_proj_weight.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return tuple(F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, like: Tensor) -> Tensor | None:
        """Return what is added to the scores [rows, heads, queries, keys]; True in a mask of bool leaves a key out."""
        added: Tensor | None = None
        for mask in (attn_mask, None if padding is None else padding[:, None, None, :]):
            if mask is None:
                continue
            if mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
            if mask.dim() == 3:  # [rows · heads, queries, keys]
                mask = mask.unflatten(0, (len(like), self.num_heads))
            added = mask if added is None else added + mask
        return added


def count_multihead(part: nn.MultiheadAttention) -> None:
    """Make an attention compute with the heads that its tensors hold, in place; a head keeps its size."""
    heads = part.in_proj_weight.shape[0] // 3 // part.head_dim
    if heads == part.num_heads:
        return
    part.__class__ = FewerHeads
    part.num_heads = heads
    # torch's fused kernels for encoder layers, which read the size of a head from the width, leave such attention alone.
    part._qkv_same_embed_dim = False
    part.out_proj.in_features = heads * part.head_dim
