"""Call a module with other parameters and buffers, at the cost of a few dictionary assignments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class FastFunctionalCall:
    """The locations of a module's parameters and buffers, to call it with other tensors.

    `torch.func.functional_call` does the same with more checks, which take a third of the time of a training step of a small
    network. A tensor that a module has under several names is replaced under all of them.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.aliases: dict[str, str] = {}  # other name → the first name of the same tensor
        self._locations: dict[str, list[tuple[dict[str, Any], str]]] = {}
        first: dict[int, str] = {}
        for prefix, child in module.named_modules():
            for tensors in (child._parameters, child._buffers):
                for key, tensor in tensors.items():
                    if tensor is None:
                        continue
                    full_name = f"{prefix}.{key}" if prefix else key
                    name = first.setdefault(id(tensor), full_name)
                    if name != full_name:
                        self.aliases[full_name] = name
                    self._locations.setdefault(name, []).append((tensors, key))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, each once."""
        return tuple(self._locations)

    def current(self, name: str) -> Tensor | None:
        """Return the tensor that the module has now under a name of `names`."""
        slots, key = self._locations[name][0]
        current: Tensor | None = slots[key]
        return current

    def call(self, tensors: Mapping[str, Tensor], *inputs: Any) -> Any:
        """Return the module's output with these tensors; unknown names are ignored."""
        replaced = []
        for name, tensor in tensors.items():
            for slots, key in self._locations.get(name, ()):
                replaced.append((slots, key, slots[key]))
                slots[key] = tensor
        try:
            return self.module(*inputs)
        finally:
            for slots, key, tensor in replaced:
                slots[key] = tensor
