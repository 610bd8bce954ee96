"""Which texts a model reads only in part, by group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MAX_GROUPS = 12


def truncation_note(
    truncated: np.ndarray, attributes: Mapping[str, np.ndarray], max_length: int
) -> str | None:
    """Return the share of texts that are cut at the maximum length, in all and in each group, as a sentence.

    None if no text is cut.

    Parameters
    ----------
    truncated
        ``bool`` [rows], whether a text lost its end.
    attributes
        Sensitive attributes: name → groups [rows] str.
    """
    if not truncated.any():
        return None
    parts = [f"by {name}: {_shares(truncated, groups)}" for name, groups in attributes.items() if len(groups)]
    return (
        f"{percent(truncated.mean())} of {len(truncated):,} texts are longer than the maximum length of {max_length:,} "
        f"token ids and are read without their end" + (f" ({'; '.join(parts)})" if parts else "")
    )


def _shares(truncated: np.ndarray, groups: np.ndarray) -> str:
    names, codes = np.unique(groups.astype(str), return_inverse=True)
    shares = np.bincount(codes, weights=truncated) / np.bincount(codes)
    order = np.argsort(-shares, kind="stable")
    shown = [f"{names[i]} {percent(shares[i])}" for i in order[:MAX_GROUPS]]
    return ", ".join(shown) + (f" and {len(names) - MAX_GROUPS} more" if len(names) > MAX_GROUPS else "")


def percent(share: float) -> str:
    """Return a share as text: 0 %, 0.15 %, 23 %."""
    return "0 %" if share == 0 else f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
