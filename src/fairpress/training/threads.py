"""The number of threads within an operator of torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from fairpress.core.threads import checked_threads


@contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Compute with this many threads in the block; None leaves torch's number, by default one for each core.

    Sums are split among threads: another number gives weights that differ in the last digits, and after many steps in the
    first ones. Raises UserError for a number out of range.
    """
    if threads is not None:
        checked_threads(threads)
    if threads is None or find_spec("torch") is None:  # a missing torch is reported by what needs it
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
