"""Read the bytes of an ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairpress.core.errors import UserError

if TYPE_CHECKING:
    import onnx


def parsed(data: bytes, where: str = "this") -> onnx.ModelProto:
    """Return the model. Raises UserError, speaking of `where`, when the bytes are no ONNX file."""
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise UserError(f"{where} is no ONNX file, or it is cut short; export it again.") from None
    if not model.HasField("graph"):
        raise UserError(f"{where} is no ONNX file: it has no graph.")
    return model
