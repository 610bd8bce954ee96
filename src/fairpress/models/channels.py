"""The shapes of tensors that pruning made smaller, as an architecture's field `channels`. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator


def _pairs(value: Any) -> Any:
    """Convert a mapping, as in a card, to hashable pairs."""
    return tuple(value.items()) if isinstance(value, Mapping) else value


Channels: TypeAlias = Annotated[tuple[tuple[str, tuple[int, ...]], ...], BeforeValidator(_pairs)]
"""(name of a tensor, its shape) of each tensor that lost channels, heads or units; a mapping in cards."""
