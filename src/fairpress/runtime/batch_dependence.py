"""How many answers of a text model depend on the batch that a text is in: its size, its order, its padding.

A file in floats masks padding and treats every row alike; only the order of its sums may change the last bits of a score.
A file that computes ranges of activations in each call (`onnx.per_call_ranges`) rounds a row by the values of all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.runtime.truncation import percent

PREDICTED_ALONE = (
    "it computes ranges of activations in each call, so a prediction can depend on the other texts of its batch; every text "
    "is predicted alone here"
)
"""The note on such a file; the sentence of the measurement may follow."""

MAX_ROWS = 1000
SIZES = (8, 32, 128)
PADDED_LENGTH = 128  # at 512 token ids, padding would take most of the time of `predict`


@dataclass(frozen=True)
class Change:
    """How often the answers of texts in another batch differ from those of the same texts alone.

    Attributes
    ----------
    batches
        How the texts were run, such as ``"32 rows, shuffled"``.
    answers
        Number of texts whose predicted class differs.
    score
        The largest difference of a class probability, from 0 to 1.
    """

    batches: str
    answers: int
    score: float


@dataclass(frozen=True)
class BatchDependence:
    """Changes of the answers of `rows` texts, compared with every text alone and without padding."""

    rows: int
    changes: tuple[Change, ...]

    @property
    def worst(self) -> Change:
        """The way of batching that changes most answers; of these the one that changes a score most."""
        return max(self.changes, key=lambda c: (c.answers, c.score))

    def sentence(self) -> str:
        """Return the measurement as a sentence without a full stop."""
        worst = self.worst
        if not worst.answers:
            scores = f"a score by at most {worst.score:.1g}" if worst.score else "no score"
            return f"batch size, order and padding change no prediction of {self.rows:,} texts, and {scores}"
        others = ", ".join(f"{percent(c.answers / self.rows)} with {c.batches}" for c in self.changes)
        return (
            f"compared with every text alone, {percent(worst.answers / self.rows)} of {self.rows:,} answers change at "
            f"worst, a score by up to {max(c.score for c in self.changes):.2g} ({others})"
        )

    def to_dict(self) -> dict[str, object]:
        """Return the measurement as it is recorded in the table's metadata."""
        return {
            "rows": self.rows,
            "changes": [{"batches": c.batches, "answers": c.answers, "score": c.score} for c in self.changes],
        }


def compare_batches(
    run: Callable[[list[np.ndarray], int | None], np.ndarray],
    decided: Callable[[np.ndarray], np.ndarray],
    rows: int,
    length: int,
    *,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
) -> BatchDependence:
    """Return how the answers of `rows` texts, at most `length` token ids long, depend on their batches.

    Parameters
    ----------
    run
        Row indices of each batch and the length that texts are padded to (None: the longest of the batch) → class
        probabilities [rows, classes].
    decided
        Class probabilities → index of the predicted class [rows].
    """
    alone = run(_split(np.arange(rows), 1), None)
    answers = decided(alone)
    changes = []
    for batches, (indices, padded) in _ways(rows, length, sizes, seed).items():
        probability = run(indices, padded)
        changed = int((decided(probability) != answers).sum())
        changes.append(Change(batches, changed, float(np.abs(probability - alone).max())))
    return BatchDependence(rows, tuple(changes))


def evenly_spaced(rows: int, max_rows: int = MAX_ROWS) -> np.ndarray:
    """Return at most `max_rows` evenly spaced indices of `rows` rows."""
    return np.unique(np.linspace(0, rows - 1, min(max_rows, rows)).astype(np.int64))


def _ways(
    n: int, length: int, sizes: Sequence[int], seed: int
) -> Mapping[str, tuple[list[np.ndarray], int | None]]:
    """Return how the rows 0 … n - 1 are run: a description → batches, and the length they are padded to."""
    order, middle = np.arange(n), sizes[len(sizes) // 2]
    shuffled = np.random.default_rng(seed).permutation(n)
    return {
        **{f"{size} rows": (_split(order, size), None) for size in sizes},
        f"{middle} rows reversed": (_split(order[::-1], middle), None),
        f"{middle} rows shuffled": (_split(shuffled, middle), None),
        f"1 row padded to {length}": (_split(order, 1), length),
    }


def _split(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[start : start + size] for start in range(0, len(order), size)]
