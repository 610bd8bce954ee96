"""Structured pruning of transformers: whole attention heads and feed-forward neurons go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.remove_units import UnitPruning, example_rows
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import nn

    from fairpress.compression.pruning.units import UnitGroup


class PruneHeads(UnitPruning):
    """Remove the least important attention heads and feed-forward neurons of every block, then fine-tune what is left.

    Every block loses the same share, so that none is emptied. A head goes with its rows of queries, keys and values and
    the columns that read it (Michel et al. 2019, arXiv 1905.10650); a neuron goes with its row and its column. The width of
    the embeddings stays.

    Attributes
    ----------
    share
        Share of the heads and neurons to remove; heads are rounded down.
    round_to
        Each feed-forward layer keeps a multiple of this number of neurons, which kernels need for speed, so slightly more
        may be removed. A layer that would keep fewer than this loses none.
    importance
        Of each head or neuron, summed over its weights (`RankedPruning`).
    """

    recipe_name: ClassVar[str] = "prune-heads"
    removed: ClassVar[str] = "heads"

    round_to: int = Field(default=8, ge=1, le=65_536)

    def multiple(self) -> int:
        return self.round_to

    def groups_of(self, module: nn.Module, network: TrainedNetwork, dataset: Dataset) -> list[UnitGroup]:
        from fairpress.compression.pruning.head_groups import head_groups, text_block_groups
        from fairpress.compression.pruning.neuron_groups import attending, neuron_groups
        from fairpress.compression.pruning.witness import confirmed
        from fairpress.models.text_blocks import text_blocks

        blocks = text_blocks(module)
        if blocks:
            return text_block_groups(module, blocks)
        if not attending(module):
            other = "prune-channels-50 for convolutions" if dataset.kind == "images" else "prune-neurons-50"
            raise UserError(
                f"prune-heads removes attention heads, and {type(module).__name__} ({network.architecture.name}) has no "
                f"attention; take {other}, or prune-50."
            )
        example = example_rows(dataset)
        heads = confirmed(module, head_groups(module), example)
        feedforward = neuron_groups(module, example)
        if not heads and not feedforward:
            raise UserError(
                f"prune-heads does not support the attention of {type(module).__name__} ({network.architecture.name}), but "
                "that of the architecture text, of BERT, RoBERTa, ELECTRA and DistilBERT, timm's Attention and Swin, "
                "nn.MultiheadAttention, and transformers' networks for images; take prune-50."
            )
        return [*heads, *feedforward]

    def facts(
        self, module: nn.Module, groups: Sequence[UnitGroup], retained: Sequence[int]
    ) -> dict[str, Any]:
        """Return the heads and neurons that each block keeps, and the names of layers that attend and keep all heads."""
        from fairpress.compression.pruning.head_groups import unknown_attention

        left = list(zip(groups, retained, strict=True))
        facts: dict[str, Any] = {
            "heads": {group.name: n for group, n in left if group.kind == "heads"},
            "feedforward": {group.name: n for group, n in left if group.kind == "neurons"},
        }
        whole = unknown_attention(module, [group for group in groups if group.kind == "heads"])
        return {**facts, "whole": whole} if whole else facts

    def too_few(self, groups: Sequence[UnitGroup]) -> str:
        return (
            f"no block has enough heads or units to remove {self.share:.0%} of them; set round_to=1, or take a larger "
            "share."
        )
