"""Reproducible pseudo-random numbers for rows: a hash of seed and row id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def hash_uniform(seed: int, row_ids: Sequence[str]) -> np.ndarray:
    """Return a number in [0, 1) for each row [rows]: the first 53 bits of blake2b(seed/row_id).

    It depends on nothing else: a row receives the same decision in any table, and anyone who knows the seed can check it.
    """
    drawn = (
        int.from_bytes(hashlib.blake2b(f"{seed}/{row}".encode(), digest_size=8).digest(), "big") >> 11
        for row in row_ids
    )
    return np.fromiter((value / 2**53 for value in drawn), np.float64, len(row_ids))
