"""The operators of a network that draw random numbers in evaluation mode, and the layers that they are in."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fairpress.models.functional_call import FastFunctionalCall

MAX_NAMED = 3
LIBRARIES = ("torch", "fairpress", "contextlib")


class _RandomOperators(TorchDispatchMode):
    """Note every operator that torch marks as random, and the layer whose forward calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[str] = []
        self.operators: dict[str, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            name = func.overloadpacket.__name__.removeprefix("native_").strip("_")
            name = "dropout" if name == "bernoulli" else name
            self.operators.setdefault(self.layers[-1] if self.layers else "", f"{name}{_line()}")
        return func(*args, **(kwargs or {}))


def _line() -> str:
    """Return the line of a user's own code that is being run, for a sentence; "" within torch alone."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        if "forward" in frame.f_code.co_name and not frame.f_globals.get("__name__", "").startswith(
            LIBRARIES
        ):
            return f" (line {frame.f_lineno} of {Path(frame.f_code.co_filename).name})"
        frame = frame.f_back
    return ""


def random_operators(module: nn.Module, rows: Tensor) -> dict[str, str]:
    """Return layer → the first operator in it that draws random numbers; "" is the network's own forward.

    Parameters
    ----------
    module
        A network in evaluation mode; it is not changed.
    rows
        Inputs [rows, …].
    """
    copied, mode = copy.deepcopy(module).eval(), _RandomOperators()

    def enter(name: str) -> Any:
        return lambda *_: mode.layers.append(name)

    def leave(*_: Any) -> None:
        mode.layers.pop()

    for name, child in copied.named_modules():
        child.register_forward_pre_hook(enter(name))
        child.register_forward_hook(leave)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), mode:
        FastFunctionalCall(copied).call({}, rows)
    return mode.operators


def is_random(module: nn.Module, rows: Tensor) -> str:
    """Return the message for a network that is random in evaluation mode; it names the operators and their layers."""
    drawn = random_operators(module, rows)
    named = [f"{name} in {f'layer {layer!r}' if layer else 'its forward'}" for layer, name in drawn.items()]
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    cause = f"{', '.join(named[:MAX_NAMED])}{more}" if named else "something in it is random"
    remedy = (
        "pass training=self.training to F.dropout, or leave the dropout out"
        if "dropout" in cause or not named
        else "let it draw in training only (if self.training: …)"
    )
    return (
        "the network gives different outputs for the same rows when it is called again, even in evaluation mode: "
        f"{cause}, which no file can reproduce; {remedy}."
    )


def depends_on_batch(module: nn.Module, size: int) -> str:
    """Return the message for a network whose outputs differ in batches of `size` rows."""
    norms = [
        name
        for name, child in module.named_modules()
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.running_mean is None
    ]
    cause = (
        f"layer {norms[0]!r} is a batch norm without running statistics"
        if norms
        else "look for batch norm without running statistics, or sums over the first axis"
    )
    return (
        f"the network gives different outputs for the same rows in batches of {size}: a row's output depends on the other "
        f"rows of its batch, which no file can reproduce; make a row's outputs depend on that row alone ({cause})."
    )
