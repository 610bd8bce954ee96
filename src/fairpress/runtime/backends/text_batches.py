"""Batched inference over token ids: texts of similar length together, each batch trimmed to its longest text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Session
from fairpress.runtime.backends.batching import DEFAULT_BATCH, require_batch
from fairpress.tokenization.padding import text_lengths

# Constants, as in `batching`: equal commands give equal tables on every machine.
MAX_ROWS, MAX_IDS = DEFAULT_BATCH, 4096


def length_batches(
    ids: np.ndarray, lengths: np.ndarray, max_rows: int = MAX_ROWS, max_ids: int = MAX_IDS
) -> list[np.ndarray]:
    """Return the rows of each batch: sorted by length, at most `max_rows` rows and `max_ids` token ids, or one row.

    Texts of one length are sorted by their ids, so that the batches do not depend on the order of the rows.
    """
    order = np.lexsort((*ids.T[::-1], lengths))
    batches: list[list[int]] = []
    for row in order.tolist():
        current = batches[-1] if batches else None
        if current is None or len(current) == max_rows or (len(current) + 1) * lengths[row] > max_ids:
            batches.append([row])
        else:
            current.append(row)
    return [np.array(batch, dtype=np.int64) for batch in batches]


def outputs_of_texts(
    session: Session,
    ids: np.ndarray,
    pad_id: int,
    *,
    alone: bool = False,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the output [rows, …] for token ids [rows, length], in the order of the rows.

    Parameters
    ----------
    alone
        Whether every text is run in a call of its own, without padding.
    progress
        Called with the number of finished rows.

    Raises
    ------
    UserError
        The file does not read token ids, or it requires a length that is too short for a text.
    """
    lengths = text_lengths(ids, pad_id)
    batches = [np.array([row]) for row in range(len(ids))] if alone else length_batches(ids, lengths)
    return outputs_of_batches(session, ids, lengths, pad_id, batches, progress=progress)


def outputs_of_batches(
    session: Session,
    ids: np.ndarray,
    lengths: np.ndarray,
    pad_id: int,
    batches: list[np.ndarray],
    *,
    length: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the output [rows, …] of token ids [rows, longest] run in the given batches of row indices.

    Each batch is padded to its longest text, or to `length`; a file that requires a number of rows or a length gets
    these: the last row repeated, padding at the end. Every row is in one batch.
    """
    shape = session.input.shape
    if len(shape) != 2 or session.input.dtype.kind != "i":
        raise UserError(
            f"the file reads {session.input.dtype} of {len(shape)} dimensions, not token ids [rows, length]; "
            "create the model again."
        )
    rows_required, length_required = shape
    if length_required is not None and len(lengths) and int(lengths.max()) > length_required:
        raise UserError(
            f"the file reads exactly {length_required} token ids of a text, the data have texts of {int(lengths.max())}; "
            "export the model with a free length."
        )
    if rows_required is not None:
        require_batch(rows_required, ids.shape[1] * session.input.dtype.itemsize, "the file")
    out: np.ndarray | None = None
    done = 0
    for batch in batches:
        width = length_required or length or int(lengths[batch].max())
        step = rows_required or len(batch)
        for start in range(0, len(batch), step):
            rows = batch[start : start + step]
            feed = np.full((step, width), pad_id, dtype=session.input.dtype)
            kept = min(width, ids.shape[1])
            feed[: len(rows), :kept] = ids[rows, :kept]
            feed[len(rows) :, :kept] = ids[rows[-1], :kept]
            answer = session.run(feed)[: len(rows)]
            if out is None:
                out = np.empty((len(ids), *answer.shape[1:]), dtype=answer.dtype)
            out[rows] = answer
            done += len(rows)
            if progress is not None:
                progress(done)
    assert out is not None
    return out
