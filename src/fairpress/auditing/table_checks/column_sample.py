"""A column of the first rows, as codes of its values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.query_result import ResultColumn, encode
from fairpress.core.values import spelling


@dataclass(frozen=True)
class ColumnSample:
    """A column of the first rows: its values as text, the code of each row (−1: missing), and how often each occurs."""

    texts: list[str]
    codes: np.ndarray
    counts: np.ndarray


def sample_column(column: ResultColumn) -> ColumnSample:
    """Return a column as a sample."""
    coded = encode(column)
    texts = [spelling(v) for v in coded.values]
    lookup = np.array([-1 if t is None else i for i, t in enumerate(texts)], dtype=np.int64)
    codes = lookup[coded.codes]
    return ColumnSample(
        [t or "" for t in texts], codes, np.bincount(codes[codes >= 0], minlength=len(texts)).astype(float)
    )
