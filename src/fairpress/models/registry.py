"""Architectures by name; the frozen config class is the key. Imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import BaseModel

from fairpress.core.config import parse
from fairpress.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

_CONFIGS = {"mlp": "fairpress.models.mlp:Mlp"}


class Architecture(Protocol):
    """A frozen pydantic config that builds its network."""

    @property
    def name(self) -> str: ...

    def build(self, n_inputs: int, n_classes: int) -> nn.Module: ...

    def model_dump(self, *, mode: str = "json") -> dict[str, Any]: ...


def build(architecture: Architecture, n_inputs: int, n_classes: int, seed: int = 0) -> nn.Module:
    """Return an architecture's network with weights drawn from `seed`; torch's global generator stays put."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return architecture.build(n_inputs, n_classes)


def names() -> list[str]:
    """Return the architectures there are."""
    return sorted(_CONFIGS)


def config_class(name: str) -> type[BaseModel]:
    """Return the config class of an architecture. Raises UserError with what was probably meant."""
    if name not in _CONFIGS:
        raise UserError(f"there is no model {name!r}." + did_you_mean(name, _CONFIGS))
    module, _, attribute = _CONFIGS[name].partition(":")
    return cast("type[BaseModel]", getattr(import_module(module), attribute))


def get(name: str, **params: Any) -> Architecture:
    """Return an architecture's config. Raises UserError for an unknown name or parameter."""
    return cast("Architecture", parse(config_class(name), params, f"model {name}"))
