"""Damage to JSON and YAML: values of other types, keys that are gone, twice or new, bytes that are cut or flipped."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    0.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    10**9,
    2**31,
    2**63,
    10**30,
    "",
    "x",
    "0",
    "yes",
    "../../etc/passwd",
    "/dev/zero",
    "a\nb",
    "\x00",
    "\u202e\u0000<script>",
    "x" * 5_000,
    [],
    {},
    [[]],
    [None],
    ["x"],
    ["x", "x"],
    [0],
    [-1],
    [3],
    [10**12],
    {"a": 1},
    {"name": "x"},
    {"name": ["x"]},
    {"name": "resnet18"},
    {"say": 1},
    {"value": None},
)


def places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all parts of a document but itself."""
    steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    result: list[tuple[Any, ...]] = []
    for step, part in steps:
        result += [(*at, step), *places(part, (*at, step))]
    return result


def holder(document: Any, path: tuple[Any, ...]) -> Any:
    """Return what holds the part at a path."""
    for step in path[:-1]:
        document = document[step]
    return document


def other_content(document: Any, rng: random.Random) -> Any:
    """Return a copy of a document in which one to three parts are others, gone, renamed, or new."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        known = places(document)
        if not known:
            return document
        path = rng.choice(known)
        inside, step, what = holder(document, path), path[-1], rng.random()
        if what < 0.65:
            inside[step] = copy.deepcopy(rng.choice(HOSTILE))
        elif what < 0.8:
            del inside[step]
        elif isinstance(inside, dict) and what < 0.9:
            inside[str(step) + rng.choice(("s", " ", "\x00", "X"))] = inside.pop(step)
        elif isinstance(inside, dict):
            inside[rng.choice(("", "new", "__class__", "self", "name", "é"))] = copy.deepcopy(
                rng.choice(HOSTILE)
            )
        else:
            inside.extend(copy.deepcopy(inside[:50]))
    return document


def other_bytes(text: str, rng: random.Random) -> bytes:
    """Return a text that is cut, doubled, flipped, deep, or not UTF-8."""
    data, at = text.encode("utf-8", "surrogatepass"), rng.randrange(1, max(2, len(text)))
    return rng.choice(_BYTES)(data, at, rng)


def _flipped(data: bytes, at: int, rng: random.Random) -> bytes:
    at = min(at, len(data) - 1)
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


_BYTES: tuple[Callable[[bytes, int, random.Random], bytes], ...] = (
    lambda data, at, rng: data[:at],
    lambda data, at, rng: data[at:],
    lambda data, at, rng: data + data,
    _flipped,
    _flipped,
    _flipped,
    lambda data, at, rng: data[:at] + b"\xff" + data[at:],
    lambda data, at, rng: data[:at] + b"\x00" + data[at:],
    lambda data, at, rng: data.decode("utf-8", "replace").encode("utf-16"),
    lambda data, at, rng: b"\xef\xbb\xbf" + data,
    lambda data, at, rng: b"[" * rng.choice((50, 150, 5_000, 200_000)) + data,
    lambda data, at, rng: data[:at] + b'{"a":' * rng.choice((60, 3_000)) + data[at:],
    lambda data, at, rng: data.replace(b"1", b"1e999"),
    lambda data, at, rng: data.replace(b"1", b"9" * rng.choice((25, 5_000)), 1),
    lambda data, at, rng: data.replace(b"\n", b"\r"),
    lambda data, at, rng: b"",
)


def damaged_json(document: Any, rng: random.Random) -> bytes:
    """Return JSON that was a document of fairpress, and is damaged."""
    what = rng.random()
    if what < 0.75:
        return json.dumps(other_content(document, rng), indent=1).encode()
    text = json.dumps(document, indent=1)
    if what < 0.8:
        lines = text.splitlines()
        at = rng.randrange(1, len(lines))
        return "\n".join([*lines[:at], lines[at], *lines[at:]]).encode()
    return other_bytes(text, rng)


def a_sentence(text: str) -> bool:
    """Tell whether a refusal is one that a user can read."""
    return bool(text.strip()) and "Traceback" not in text and len(text) < 3_000
