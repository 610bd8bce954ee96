"""Where training runs, and whether what it needs is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairpress.core.errors import MissingExtra, UserError

if TYPE_CHECKING:
    pass


def resolve_device(name: str) -> Any:
    """Return the torch device; ``"auto"`` takes an accelerator where there is one."""
    import torch

    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {name!r} does not work here ({str(error).splitlines()[0]}); try --device cpu."
        ) from None


def device_of(origin: Mapping[str, Any]) -> Any:
    """Return the torch device that a card's provenance says its model was trained on, for further training.

    Raises UserError where this machine has no such device.
    """
    name = str(origin.get("device", "cpu"))
    try:
        return resolve_device(name)
    except UserError:
        raise UserError(
            f"the model was trained on {name}, which does not work here, and is trained further on the same kind of "
            "device; go on where it was trained, or train the model here."
        ) from None


def require_torch(subject: str) -> None:
    """Raise MissingExtra unless the packages of the torch extra are there."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("torch", "torchao", "onnxscript", "safetensors")):
        raise MissingExtra(subject, "torch")
