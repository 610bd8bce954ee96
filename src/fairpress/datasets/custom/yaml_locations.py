"""Locations in a YAML file, for errors that only the data reveal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def yaml_location(document: Any, path: Sequence[str | int], source_name: str) -> str:
    """Return ``file:line:column`` of the deepest part of `path` that ruamel's document has; else `source_name`."""
    node, position = document, None
    for step in path:
        marks = getattr(node, "lc", None)
        if marks is None:
            break
        if isinstance(node, Mapping):
            if step not in node or step not in (marks.data or {}):
                break
            position = marks.key(step)
        elif isinstance(step, int) and step < len(node):
            position = marks.item(step)
        elif step in node:
            position = marks.item(list(node).index(step))
        else:
            break
        node = node[step] if isinstance(node, Mapping) or isinstance(step, int) else None
    return source_name if position is None else f"{source_name}:{position[0] + 1}:{position[1] + 1}"
