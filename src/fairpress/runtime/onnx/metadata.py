"""A summary of its audit inside an ONNX file: whoever opens the model sees who pays for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fairpress.core.errors import UserError
from fairpress.core.json_file import parse_json
from fairpress.runtime.onnx.load import parse_model

KEY = "fairpress.audit"


def embed(data: bytes, summary: Mapping[str, Any]) -> bytes:
    """Return the file with the summary in its ONNX metadata, in place of an earlier one."""
    model = parse_model(data)
    kept = [p for p in model.metadata_props if p.key != KEY]
    pairs = [(p.key, p.value) for p in kept]
    del model.metadata_props[:]
    for key, value in [*pairs, (KEY, json.dumps(summary, sort_keys=True, allow_nan=False))]:
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString(deterministic=True))


def embedded(data: bytes) -> dict[str, Any] | None:
    """Return the summary that an ONNX file carries, None if there is none. Raises UserError for other bytes."""
    for prop in parse_model(data).metadata_props:
        if prop.key == KEY:
            found = parse_json(prop.value, "the audit inside this file", remedy="embed it again")
            if not isinstance(found, dict):
                raise UserError("the audit inside this file is damaged; embed it again.")
            return found
    return None


def graph_digest(data: bytes) -> str:
    """Return the sha256 of the file without its metadata: embedding an audit does not change it."""
    model = parse_model(data)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
