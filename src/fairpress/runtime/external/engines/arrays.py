"""Send JSON and arrays through the pipes between two processes."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from io import BytesIO
from typing import IO, Any

import numpy as np

LENGTH = struct.Struct("<Q")


def write_message(pipe: IO[bytes], content: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Write a JSON object and arrays."""
    parts = [json.dumps({**content, "arrays": len(arrays)}).encode()]
    for array in arrays:
        stream = BytesIO()
        np.save(stream, array, allow_pickle=False)
        parts.append(stream.getvalue())
    for part in parts:
        pipe.write(LENGTH.pack(len(part)))
        pipe.write(part)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """Read what `write_message` wrote; None at the end of the pipe."""
    first = _read_part(pipe)
    if first is None:
        return None
    content: dict[str, Any] = json.loads(first)
    arrays = []
    for _ in range(content.pop("arrays")):
        part = _read_part(pipe)
        if part is None:
            return None
        arrays.append(np.load(BytesIO(part), allow_pickle=False))
    return content, arrays


def _read_part(pipe: IO[bytes]) -> bytes | None:
    header = pipe.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(header)
    part = pipe.read(size)
    return part if len(part) == size else None
