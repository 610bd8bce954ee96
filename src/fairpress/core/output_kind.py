"""What a network predicts, which decides how its outputs are trained, checked, written and audited."""

from __future__ import annotations

from typing import Literal, get_args

OutputKind = Literal["classes", "number", "labels", "embedding"]
OUTPUT_KINDS: tuple[OutputKind, ...] = get_args(OutputKind)

DESCRIPTIONS: dict[OutputKind, str] = {
    "classes": "one of several classes",
    "number": "a number",
    "labels": "several labels, each of them present or not",
    "embedding": "an embedding",
}
