"""Draws that depend on a text alone: numpy's generators may change between versions."""

from __future__ import annotations

import hashlib


def draw(text: str) -> int:
    """Return 64 bits that depend on the text alone."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )
