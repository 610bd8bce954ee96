"""One digest over everything in a dataset that a result can depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fairpress.core.canonical_json import canonical_json
from fairpress.datasets.dataset import PARTS, Part, Task


def _outputs(task: Task) -> list[Any]:
    return [] if task.outputs == "classes" else [task.outputs, list(task.label_names)]


def fingerprint(
    *,
    task: Task,
    inputs: np.ndarray,
    input_names: tuple[str, ...],
    labels: np.ndarray,
    attributes: Mapping[str, np.ndarray],
    subjects: np.ndarray,
    row_ids: np.ndarray,
    parts: Mapping[Part, np.ndarray],
    config: Mapping[str, Any],
    content: bytes | None = None,
) -> str:
    """Return the sha256 of content, options and parts: 64 hexadecimal digits, equal on every machine.

    `content`, such as the digests of image files, replaces the inputs if it is given.
    """
    digest = hashlib.sha256(b"fairpress.dataset/1")
    head = {
        "task": [task.target, list(task.classes), task.positive, *_outputs(task)],
        "inputs": [list(input_names), list(inputs.shape), str(inputs.dtype)],
        "config": dict(config),
    }
    pieces = [canonical_json(head).encode()]
    if content is None:
        content = np.ascontiguousarray(inputs).astype(inputs.dtype.newbyteorder("<"), copy=False).tobytes()
    pieces.append(content)
    pieces.append(labels.astype("<f8" if labels.dtype.kind == "f" else "<i8").tobytes())
    texts = {**{f"attribute {k}": v for k, v in attributes.items()}, "subjects": subjects, "row_ids": row_ids}
    pieces += [canonical_json([name, [str(v) for v in values]]).encode() for name, values in texts.items()]
    for part in PARTS:
        if part in parts:
            pieces += [part.encode(), parts[part].astype("<i8").tobytes()]
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "little"))  # so that no two contents run together alike
        digest.update(piece)
    return digest.hexdigest()
