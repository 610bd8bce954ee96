"""The attention and feed-forward layers of networks that read texts, by the names of their layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

# Layers of a block, and the attribute with the size of a head: of `text_encoder_network`; of BERT, RoBERTa and ELECTRA; of
# DistilBERT.
NAMES = (
    (
        ("attention.query", "attention.key", "attention.value", "attention.output"),
        ("expand", "contract"),
        "attention.head_dim",
    ),
    (
        ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
        ("intermediate.dense", "output.dense"),
        "attention.self.attention_head_size",
    ),
    (
        ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
        ("ffn.lin1", "ffn.lin2"),
        "attention.attention_head_size",
    ),
)


@dataclass(frozen=True)
class TextBlock:
    """A block of a transformer whose number of heads follows from the sizes of its layers.

    Attributes
    ----------
    name
        Of the block in the network.
    reading
        Names of the layers whose outputs are the heads' queries, keys and values, head by head.
    output
        The layer that reads the heads.
    expand, contract
        The feed-forward layers.
    head_size
        Units of a head.
    """

    name: str
    reading: tuple[str, str, str]
    output: str
    expand: str
    contract: str
    head_size: int


def text_blocks(module: nn.Module) -> list[TextBlock]:
    """Return the blocks of a network in their order; none for a network of another kind."""
    blocks = []
    for name, _ in module.named_modules():
        for attention, feedforward, head_size in NAMES:
            full = [f"{name}.{layer}".lstrip(".") for layer in (*attention, *feedforward)]
            if all(isinstance(_part(module, layer), nn.Linear) for layer in full):
                query, key, value, output, expand, contract = full
                owner, _, attribute = f"{name}.{head_size}".lstrip(".").rpartition(".")
                size = int(getattr(module.get_submodule(owner), attribute))
                blocks.append(TextBlock(name, (query, key, value), output, expand, contract, size))
    return blocks


def _part(module: nn.Module, name: str) -> nn.Module | None:
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None
