"""The range of seeds that all generators in use accept."""

from __future__ import annotations

from fairpress.core.errors import UserError

MAX_SEED = 2**63 - 1


def checked_seed(seed: int) -> int:
    """Return the seed. Raises UserError below 0 and above 2⁶³ − 1, which torch or numpy would refuse or wrap."""
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"the seed {seed} is out of range; take a whole number from 0, such as 1.")
    return seed
