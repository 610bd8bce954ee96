"""Read the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.core.errors import UserError
from fairpress.core.files import require_regular

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 2**31  # limit of protobuf; larger models have external data


def parse_model(
    data: bytes, source_name: str = "the file", remedy: str = "export it again"
) -> onnx.ModelProto:
    """Return the model. Raises UserError, naming `source_name` and a remedy, if the bytes are not an ONNX file."""
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise UserError(f"{source_name} is not an ONNX file, or it is truncated; {remedy}.") from None
    if not model.HasField("graph"):
        raise UserError(f"{source_name} is not an ONNX file: it has no graph; {remedy}.")
    return model


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model of a file, without external data.

    Raises UserError if the file is missing, a pipe, a device, too large, or not ONNX.
    """
    require_regular(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(
                f"{path} is larger than 2 GiB, the limit of an ONNX file; export it with external data."
            )
        return parse_model(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; check the path.") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error}); check its permissions.") from None


def external_data_files(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Return the files of external data of an ONNX file.

    Raises UserError, before a runtime opens it, for a file outside the model's folder, a pipe or a device.
    """
    named = dict.fromkeys(
        entry.value
        for tensor in _tensors(model.graph)
        if tensor.data_location == tensor.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    )
    files = []
    for name in named:
        inside = Path(name)
        if inside.is_absolute() or ".." in inside.parts or "\0" in name:
            raise UserError(
                f"{path} refers to weights at {name!r}, outside its folder; export it again with its weights in the "
                "same folder."
            )
        file = path.parent / inside
        require_regular(file)
        if not file.is_file():
            raise UserError(
                f"the external weights of {path} cannot be read: there is no {file}; copy it there."
            )
        files.append(file)
    return files


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the stored tensors of a graph and its subgraphs."""
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
