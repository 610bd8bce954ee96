"""A plain copy of a user's own network: without wrappers, and with stored instead of computed weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fairpress.compression.plain_layers import with_plain_layers
from fairpress.core.errors import UserError

# Modules that only pass their inputs on to a network, by class name, and the attribute of that network.
WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",
}
QUANTIZED = ("torch.ao.nn", "torch.nn.quantized", "torch.nn.intrinsic.quantized")


@dataclass(frozen=True)
class UnwrappedModule:
    """A float32 copy on the CPU, in evaluation mode, that shares nothing with the original network.

    Attributes
    ----------
    pruned
        Whether weights were held at zero by `torch.nn.utils.prune`: they are zero in the copy.
    notes
        Sentences on differences from the original network.
    """

    module: nn.Module
    pruned: bool = False
    notes: list[str] = field(default_factory=list)


def unwrap(module: nn.Module) -> UnwrappedModule:
    """Return a copy of a network that can be exported. The network is neither changed nor called.

    Wrappers (`nn.DataParallel`, `torch.compile`, …) are removed. Weights that are computed from others in every call
    (`torch.nn.utils.prune`, weight and spectral norm, parametrizations) are stored as their values.

    Raises
    ------
    UserError
        The network is not a float module of torch, or its weights do not exist yet; the message states what to pass.
    """
    if not isinstance(module, nn.Module):
        raise UserError(
            f"compress takes a torch.nn.Module, a model folder or an artifact; this is {type(module).__qualname__}"
            + (": pass the module it was exported from." if hasattr(module, "module") else ".")
        )
    module = unwrapped(module)
    _refuse_foreign(module)
    copied = _copied(module)
    try:
        copied.eval()
    except NotImplementedError as error:
        raise UserError(
            "the network is a program of torch.export, which has one mode only; pass the original module."
        ) from error
    pruned = _store_pruned(copied)
    _store_computed(copied)
    result = UnwrappedModule(with_plain_layers(copied), pruned)
    kinds = {t.dtype for t in (*copied.parameters(), *copied.buffers()) if t.is_floating_point()} - {
        torch.float32
    }
    if kinds:
        names = " and ".join(sorted(str(k).removeprefix("torch.") for k in kinds))
        copied.float()
        result.notes.append(
            f"the network computes in {names}; its file computes in float32, like a copy after .float()."
        )
    return result


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside any wrappers."""
    while (inner := _inner(module)) is not None:
        module = inner
    return module


def _inner(module: nn.Module) -> nn.Module | None:
    names = [WRAPPERS[c.__name__] for c in type(module).__mro__ if c.__name__ in WRAPPERS]
    inner = (
        getattr(module, names[0], None) if names and type(module).__module__.startswith("torch.") else None
    )
    return inner if isinstance(inner, nn.Module) else None


def _refuse_foreign(module: nn.Module) -> None:
    for name, child in module.named_modules():
        layer_text, kind = f"layer {name!r}" if name else "the network", type(child)
        if isinstance(child, torch.jit.ScriptModule):
            raise UserError(
                f"{layer_text} is a torch.jit module, which does not expose its layers; pass the nn.Module that it was "
                "traced or scripted from."
            )
        if kind.__module__.startswith(QUANTIZED) and ".qat" not in kind.__module__:
            raise UserError(
                f"{layer_text} ({kind.__name__}) is already quantized by torch.ao; pass the float network."
            )
        if isinstance(child, nn.LSTM) and child.proj_size:
            raise UserError(
                f"{layer_text} (LSTM) has proj_size={child.proj_size}, which ONNX's LSTM does not have; train the network "
                "with proj_size=0, and a linear layer after it where fewer outputs are needed."
            )
        if ".qat" in kind.__module__ or "FakeQuantize" in kind.__name__:
            raise UserError(
                f"{layer_text} ({kind.__name__}) is prepared for quantization-aware training by torch.ao; pass the float "
                "network and take a recipe such as qat-int8."
            )
        for key, value in (*child._parameters.items(), *child._buffers.items()):
            tensor_name = f"{name}.{key}" if name else key
            if value is not None:
                _refuse_tensor(tensor_name, value)


def _refuse_tensor(name: str, value: Tensor) -> None:
    if is_lazy(value):
        raise UserError(
            f"the tensor {name!r} has no values yet (a lazy layer); call the network on one batch, net(x), before "
            "compressing it."
        )
    if value.is_meta:
        raise UserError(f"the tensor {name!r} has no values (device meta); load the weights first.")
    if value.is_complex():
        raise UserError(
            f"the tensor {name!r} is complex, which model files do not support; store its real and imaginary parts."
        )
    if value.layout != torch.strided:
        raise UserError(f"the tensor {name!r} is sparse; pass the network with dense weights (.to_dense()).")
    if value.is_quantized or type(value) not in (Tensor, nn.Parameter, nn.Buffer):
        kind = str(value.dtype) if value.is_quantized else type(value).__name__
        raise UserError(f"the tensor {name!r} is already quantized ({kind}); pass the float network.")
    if (
        value.is_floating_point()
        and not bool(torch.isfinite(value).all())
        and isinstance(value, nn.Parameter)
    ):
        raise UserError(
            f"the weight {name!r} has NaN or infinite values, since training diverged; pass an earlier checkpoint "
            "without them."
        )


def _copied(module: nn.Module) -> nn.Module:
    """Return a copy on the CPU. Computed tensors, which torch does not copy, become stored ones."""
    memo: dict[int, Any] = {}
    for child in module.modules():
        for value in _tensors(vars(child)):
            if not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    children = [child for child in module.modules() if _inner(child) is not None]
    try:
        for child in reversed(children):
            memo[id(child)] = copy.deepcopy(unwrapped(child), memo)
        copied = copy.deepcopy(module, memo)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"the network cannot be copied ({type(error).__name__}: {reason}); remove attributes that copy.deepcopy does "
            "not support, such as open files, locks and loggers."
        ) from error
    return copied.cpu()


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Yield the tensors in dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif depth < 4 and isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part, depth + 1)


def _store_pruned(module: nn.Module) -> bool:
    any_pruned = False
    for child in module.modules():
        for hook in list(child._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(child, hook._tensor_name)
                any_pruned = True
    return any_pruned


@torch.no_grad()
def _store_computed(module: nn.Module) -> None:
    for child in list(module.modules()):
        for hook in list(child._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(child, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(child, hook.name)
        if not parametrize.is_parametrized(child):
            continue
        # torch's remove_parametrizations deletes the property of the class, which the network shares with its copy.
        parametrizations: Any = child.parametrizations
        values = {name: getattr(child, name).detach().clone() for name in parametrizations}
        trained = {
            name: any(True for _ in parts.parameters(recurse=False))
            for name, parts in parametrizations.items()
        }
        frozen = {
            name: not any(p.requires_grad for p in parts.parameters())
            for name, parts in parametrizations.items()
        }
        del child._modules["parametrizations"]
        child.__class__ = type(child).__bases__[0]
        for name, value in values.items():
            if trained[name]:
                child.register_parameter(name, nn.Parameter(value, requires_grad=not frozen[name]))
            else:
                child.register_buffer(name, value)
