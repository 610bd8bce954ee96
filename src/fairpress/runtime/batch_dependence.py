"""How many answers of a text model depend on the batch that a text is in: its size, its order, its padding.

A file in floats masks padding and treats every row alike; only the order of its sums may change the last bits of a score.
A file that computes ranges of activations in each call (`onnx.per_call_ranges`) rounds a row by the values of all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.registry import open_session
from fairpress.runtime.backends.text_batches import outputs_of_batches, text_lengths
from fairpress.runtime.decision_rule import decide
from fairpress.runtime.probabilities import probabilities

MAX_ROWS = 1000
SIZES = (8, 32, 128)


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
            return (
                f"batch size, order and padding change no answer of {self.rows:,} texts, and a score by at most "
                f"{worst.score:.1g}"
            )
        others = ", ".join(f"{c.answers / self.rows:.1%} with {c.batches}" for c in self.changes)
        return (
            f"compared with every text alone, {worst.answers / self.rows:.1%} of {self.rows:,} answers change at worst, a "
            f"score by up to {max(c.score for c in self.changes):.2g} ({others})"
        )

    def to_dict(self) -> dict[str, object]:
        """Return the measurement as it is recorded in the table's metadata."""
        return {
            "rows": self.rows,
            "changes": [{"batches": c.batches, "answers": c.answers, "score": c.score} for c in self.changes],
        }


def measure_batch_dependence(
    artifact: Artifact,
    ids: np.ndarray,
    runtime: Backend,
    *,
    max_rows: int = MAX_ROWS,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
) -> BatchDependence:
    """Run the same texts alone, in batches, in other orders and with more padding, and compare the answers.

    Parameters
    ----------
    ids
        Token ids [rows, maximum length] of the model's tokenizer; at most `max_rows` of them are used, evenly spaced.
    sizes
        Numbers of rows in a batch, in the order of the table; the middle one is also reversed and shuffled.
    seed
        Seed of the shuffled order.

    Raises
    ------
    UserError
        The runtime cannot run the file.
    """
    ids = ids[np.unique(np.linspace(0, len(ids) - 1, min(max_rows, len(ids))).astype(np.int64))]
    n, pad_id = len(ids), int(artifact.card.inputs["pad_id"])
    lengths = text_lengths(ids, pad_id)
    session = open_session(artifact.onnx, runtime)

    def run(batches: list[np.ndarray], length: int | None = None) -> np.ndarray:
        raw = outputs_of_batches(session, ids, lengths, pad_id, batches, length=length)
        return probabilities(raw.reshape(n, -1), artifact.card.activation)

    def decided(probability: np.ndarray) -> np.ndarray:
        card = artifact.card
        return decide(probability, card.classes, card.positive, card.threshold)

    single = _split(np.arange(n), 1)
    alone = run(single)
    answers = decided(alone)
    changes = []
    for batches, (rows, length) in _ways(n, ids.shape[1], sizes, seed).items():
        probability = run(rows, length)
        changed = int((decided(probability) != answers).sum())
        changes.append(Change(batches, changed, float(np.abs(probability - alone).max())))
    return BatchDependence(n, tuple(changes))


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
