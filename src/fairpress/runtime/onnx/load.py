"""Read the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.core.errors import UserError
from fairpress.core.files import require_regular

if TYPE_CHECKING:
    import onnx

MOST_BYTES = 2**31  # of protobuf; larger models have their weights beside them


def parse_model(data: bytes, where: str = "this") -> onnx.ModelProto:
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


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model of a file, without the weights that lie beside it.

    Raises UserError where there is no such file, or it is a pipe, a device, too large, or no ONNX.
    """
    require_regular(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(
                f"{path} is larger than 2 GiB, as no ONNX file can be; export it with its weights beside it."
            )
        return parse_model(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error}); check its permissions.") from None


def weights_beside(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Return the files beside an ONNX file that hold its weights.

    Raises UserError for one that lies in no folder below, or is a pipe or a device: before a runtime opens it.
    """
    named = dict.fromkeys(
        entry.value
        for tensor in _tensors(model.graph)
        if tensor.data_location == tensor.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    )
    found = []
    for name in named:
        inside = Path(name)
        if inside.is_absolute() or ".." in inside.parts or "\0" in name:
            raise UserError(
                f"{path} looks for its weights at {name!r}, outside of its folder; put them beside it, and export it again."
            )
        place = path.parent / inside
        require_regular(place)
        if not place.is_file():
            raise UserError(
                f"the weights that belong beside {path} cannot be read: there is no {place}; copy it there."
            )
        found.append(place)
    return found


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the stored tensors of a graph and of those inside its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)
