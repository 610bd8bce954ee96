"""The device of a training, and whether its packages are installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairpress.core.errors import MissingExtra, UserError


def resolve_device(name: str) -> Any:
    """Return the torch device; ``"auto"`` takes an accelerator if there is one."""
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {name!r} does not work here ({str(error).splitlines()[0]}); try `device='cpu'`."
        ) from None


def device_of(origin: Mapping[str, Any]) -> Any:
    """Return the torch device on which a model was trained according to its card, for fine-tuning.

    Raises UserError where this machine has no such device.
    """
    name = str(origin.get("device", "cpu"))
    try:
        return resolve_device(name)
    except UserError:
        raise UserError(
            f"the model was trained on {name}, which does not work here, and fine-tuning needs the same kind of "
            "device; continue where it was trained, or train the model here."
        ) from None


def device_like(origin: Mapping[str, Any]) -> Any:
    """Return the torch device on which a model was trained if this machine has it, else the CPU: for what trains nothing."""
    try:
        return device_of(origin)
    except UserError:
        return resolve_device("cpu")


def require_torch(subject: str) -> None:
    """Raise MissingExtra unless the packages of the torch extra are there."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("torch", "torchao", "onnxscript", "safetensors")):
        raise MissingExtra(subject, "torch")
