"""Embed the summary of an audit in an ONNX file, so that it is visible wherever the model is opened."""

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
    """Return the file with the summary in its ONNX metadata; replaces an earlier one."""
    model = parse_model(data)
    other_entries = [p for p in model.metadata_props if p.key != KEY]
    pairs = [(p.key, p.value) for p in other_entries]
    del model.metadata_props[:]
    for key, value in [*pairs, (KEY, json.dumps(summary, sort_keys=True, allow_nan=False))]:
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString(deterministic=True))


def embedded(data: bytes) -> dict[str, Any] | None:
    """Return the summary embedded in an ONNX file, None if there is none. Raises UserError if it is not ONNX."""
    for prop in parse_model(data).metadata_props:
        if prop.key == KEY:
            summary = parse_json(prop.value, "the audit inside this file", remedy="embed it again")
            if not isinstance(summary, dict):
                raise UserError("the audit inside this file is damaged; embed it again.")
            return summary
    return None


def graph_digest(data: bytes) -> str:
    """Return the sha256 of the file without its metadata: embedding an audit does not change it."""
    model = parse_model(data)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
