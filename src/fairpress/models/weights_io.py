"""Convert a network's state to and from safetensors bytes; pickles, which can run code, are not read."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fairpress.core.errors import UserError


def to_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Return the state dict as safetensors bytes."""
    from safetensors.torch import save

    return save({k: v.detach().cpu().contiguous() for k, v in sorted(state.items())})


def from_bytes(data: bytes, file_name: str = "model.safetensors") -> dict[str, Tensor]:
    """Return the state dict. Raises UserError naming `file_name` if the bytes are not a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except SafetensorError as error:
        raise UserError(
            f"{file_name} is not a safetensors file ({error}); save the weights with safetensors.torch.save_file, since "
            "pickles are refused because opening one can run any code."
        ) from None
