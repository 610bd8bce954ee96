"""Smaller architectures of networks that read texts, and their first weights from a larger network of the same width."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fairpress.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairpress.models.registry import Architecture
    from fairpress.tokenization.tokenizer import TextTokenizer

# Blocks, width, heads, width of feed-forward layers: as `TextEncoder` names them, and config.json of BERT and DistilBERT.
SIZES = (
    ("layers", "width", "heads", "feedforward"),
    ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size"),
    ("n_layers", "dim", "n_heads", "hidden_dim"),
)
# The number of a block in the name of a tensor, such as `blocks.3.expand.weight`.
BLOCK = re.compile(r"(?<=\.)\d+(?=\.)")


def smaller(
    teacher: Architecture,
    tokenizer: TextTokenizer,
    into: str | None = None,
    layers: int | None = None,
    width: int | None = None,
) -> Architecture:
    """Return the architecture of a student that reads the token ids of the teacher's tokenizer.

    Parameters
    ----------
    into
        Name of its architecture; None: the teacher's, with its sizes where no other is given.
    layers, width
        Number of blocks and width. Heads keep their size, and feed-forward layers their ratio to the width.

    Raises
    ------
    UserError
        The architecture is unknown, reads no texts or is not smaller, or the width is not a multiple of the size of a head.
    """
    from fairpress.models import registry

    base: Any = teacher
    if into not in (None, teacher.name):
        assert into is not None
        kind = cast("type[Architecture]", registry.config_class(into))
        if kind.reads != "text" or into == "huggingface":
            raise UserError(
                f"distill: a student of {teacher.name} is of architecture text, not {into}; take into=text."
            )
        base = cast("Any", registry.get(into)).sized(tokenizer)
    config = json.loads(base.config) if hasattr(base, "config") else base.model_dump()
    names = next((s for s in SIZES if all(name in config for name in s)), None)
    if names is None:
        raise UserError(
            f"distill: the sizes of a {config.get('model_type', base.name)} network are unknown; take into=text."
        )
    n_layers, old_width, heads, feedforward = (config[name] for name in names)
    width, head_size = width or old_width, old_width // heads
    if width % head_size:
        raise UserError(
            f"distill: heads have {head_size} units, so the width is a multiple of {head_size}, not {width}; take "
            f"width={max(1, round(width / head_size)) * head_size}."
        )
    sizes = (layers or n_layers, width, width // head_size, feedforward * width // old_width)
    if base is teacher and (
        sizes[0] > n_layers or width > old_width or sizes == (n_layers, old_width, heads, feedforward)
    ):
        smaller = f"layers={n_layers // 2}" if n_layers > 1 else f"width={max(1, heads // 2) * head_size}"
        raise UserError(
            f"distill: a student of {_layers(sizes[0])} and width {width} is not smaller than its teacher "
            f"({_layers(n_layers)}, width {old_width}); take a smaller one, such as {smaller}."
        )
    changed = {**config, **dict(zip(names, sizes, strict=True))}
    if not hasattr(base, "config"):
        return cast("Architecture", type(base).model_validate({**changed, "channels": ()}))
    update = {"config": json.dumps(changed, sort_keys=True), "folder": None, "channels": ()}
    return cast("Architecture", base.model_copy(update=update))


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def fits(student: nn.Module, teacher: Mapping[str, Tensor]) -> bool:
    """Return whether every tensor of a student is in the teacher with the same shape, but for the number of the block."""
    chosen = _blocks(student.state_dict(), teacher)
    return all(
        (name := _renamed(key, chosen)) in teacher and teacher[name].shape == value.shape
        for key, value in student.state_dict().items()
    )


def begin_from(student: nn.Module, teacher: Mapping[str, Tensor]) -> list[int]:
    """Copy the tensors of the teacher into a student that `fits`, in place, and return the teacher's blocks it received.

    Blocks are evenly spaced from the first to the last (Sanh et al. 2019, arXiv 1910.01108).
    """
    chosen = _blocks(student.state_dict(), teacher)
    student.load_state_dict({key: teacher[_renamed(key, chosen)] for key in student.state_dict()})
    return chosen


def _blocks(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> list[int]:
    n_teacher, n_student = (
        1 + max((int(m[0]) for key in state if (m := BLOCK.search(key))), default=0)
        for state in (teacher, student)
    )
    return [int(i) for i in np.linspace(0, n_teacher - 1, n_student).round()]


def _renamed(key: str, chosen: list[int]) -> str:
    return BLOCK.sub(lambda m: str(chosen[int(m[0])]), key, count=1)
