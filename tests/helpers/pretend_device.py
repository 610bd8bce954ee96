"""A device that computes on the CPU and refuses, as a GPU does, to compute with tensors that are elsewhere.

Its tensors say that they are on ``meta``, so that code which asks for a tensor's device, or creates tensors on one, takes
the path that it takes on an accelerator. Results are those of the CPU, bit by bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import adam
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "meta"
COPIES = ("aten::_to_copy", "aten::copy_")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
"""Operators whose indices, their second argument, may be on the CPU."""


class PretendTensor(torch.Tensor):
    """A tensor of the device: the numbers are in `inner`, on the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> PretendTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=NAME,
        )
        made.inner = inner
        return made

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> PretendTensor:
        copied: Any = PretendTensor(self.inner.clone()).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        return memo.setdefault(id(self), copied)

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class PretendDevice(TorchDispatchMode):
    """A context in which ``device="meta"`` names the pretended device; `operations` counts what was computed there."""

    operations = 0

    def __enter__(self) -> Any:
        # Optimizers keep a list of the devices that have kernels of their own.
        self._check, adam._device_dtype_check_for_fused = adam._device_dtype_check_for_fused, _allow
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        adam._device_dtype_check_for_fused = self._check
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = _run(func, args, kwargs or {})
        self.operations += any(isinstance(t, PretendTensor) for t in tree.tree_leaves((args, result)))
        return result


def _allow(*_: Any, **__: Any) -> None:
    return None


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    together = (args[:1], args[2:]) if name in INDEXED else (args, kwargs)
    tensors = [t for t in tree.tree_leaves(together) if isinstance(t, torch.Tensor)]
    pretended = [t for t in tensors if isinstance(t, PretendTensor)]
    if (
        not pretended
        and name in INDEXED
        and any(isinstance(t, PretendTensor) for t in tree.tree_leaves(args))
    ):
        raise RuntimeError(f"{func} takes rows of a tensor on the CPU by indices on {NAME}")
    if pretended and name not in COPIES and any(t.dim() for t in tensors if not isinstance(t, PretendTensor)):
        raise RuntimeError(f"{func} computes with tensors of two devices, {NAME} and cpu")
    asked = kwargs.get("device")
    there = bool(pretended) if asked is None else torch.device(asked).type == NAME
    if name == "aten::copy_":
        there = isinstance(args[0], PretendTensor)
    if asked is not None and there:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree.tree_map(lambda t: t.inner if isinstance(t, PretendTensor) else t, (args, kwargs))
    result = func(*args, **kwargs)
    if not there:
        return result
    known = {id(t.inner): t for t in pretended}
    return tree.tree_map(
        lambda t: (
            known.get(id(t)) if id(t) in known else PretendTensor(t) if isinstance(t, torch.Tensor) else t
        ),
        result,
    )
