"""Datasets: a file per dataset; each knows its task, its sensitive attributes, its subjects and its parts."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairpress.datasets.registry import fetch, load, names

__all__ = ["fetch", "load", "names"]


def __getattr__(name: str) -> Any:
    """Import the registry on first use, so that naming this package costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'fairpress.datasets' has no attribute {name!r}")
    return getattr(import_module("fairpress.datasets.registry"), name)
