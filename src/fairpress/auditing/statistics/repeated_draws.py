"""Standard normal draws that are read from memory where a generator in the same state drew them before.

An audit simulates the noise of every model from one seed, so that a model's bounds do not depend on which others there are;
drawing the same numbers for each takes longer than all that is computed from them.
"""

from __future__ import annotations

import pickle
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fairpress.auditing.statistics.t_estimate import Floats

MOST_NUMBERS = 500_000
"""Numbers of a draw up to which it is kept: 4 MB, of 8 draws at most."""


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Return what ``rng.standard_normal(shape)`` does and leave `rng` in the same state; the array may be read-only."""
    if prod(shape) > MOST_NUMBERS:
        return rng.standard_normal(shape)
    draws, rng.bit_generator.state = _drawn(pickle.dumps(rng.bit_generator), shape)
    return draws


@lru_cache(maxsize=8)
def _drawn(pickled: bytes, shape: tuple[int, ...]) -> tuple[Floats, Any]:
    """Return the draws of a bit generator, and its state after them."""
    bits = pickle.loads(pickled)
    draws = np.random.Generator(bits).standard_normal(shape)
    draws.flags.writeable = False
    return draws, bits.state
