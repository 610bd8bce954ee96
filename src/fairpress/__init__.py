"""fairpress: which people pay for the compression of a neural network, and how to compress so that nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC: dict[str, str] = {}

__all__ = ["__version__"]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that `import fairpress` costs nothing."""
    raise AttributeError(f"module 'fairpress' has no attribute {name!r}")
