"""The JSON Schema of audit.json, "fairpress.audit/1"."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def json_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema draft 2020-12) of the result of `audit_json.to_dict`."""
    text = (
        resources.files("fairpress.auditing.output").joinpath("audit.schema.json").read_text(encoding="utf-8")
    )
    schema: dict[str, Any] = json.loads(text)
    return schema
