"""Run rows of a dataset through an external model, and check that each row's output is its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.external.columns import feed_columns
from fairpress.runtime.external.config import ExternalModelConfig
from fairpress.runtime.external.external_file import ExternalFile, OutputCandidates
from fairpress.runtime.external.images import feed_images
from fairpress.runtime.external.outputs import Output
from fairpress.runtime.external.texts import encode_rows, feed_texts, text_batches
from fairpress.runtime.onnx.per_call_ranges import PER_CALL_RANGES
from fairpress.tokenization.tokenizer import TokenIds

SAMPLE_ROWS, SINGLE_ROWS = 512, 5
BATCH, IMAGE_BATCH = 8192, 64


def feeds_of_rows(
    file: ExternalFile,
    config: ExternalModelConfig,
    config_path: str,
    dataset: Dataset,
    rows: np.ndarray,
    size: int | None = None,
    encoded: TokenIds | None = None,
) -> tuple[Iterator[dict[str, np.ndarray]], np.ndarray]:
    """Return the inputs of the file for some rows, call by call, and the positions of these rows in the order of the calls.

    Parameters
    ----------
    size
        Rows of a call if the file does not require a number; by default as many as fit into memory. The last call may have
        fewer. Texts of similar length are in one call.
    encoded
        The token ids of the rows, if they are known already.
    """
    if dataset.kind == "text":
        assert dataset.texts is not None
        encoded = encoded or encode_rows(file, config, dataset, rows, config_path)
        batches = text_batches(file, encoded, len(rows), size)
        feeds = feed_texts(file, config, dataset.texts[rows], encoded, batches)
        return feeds, np.concatenate(batches) if batches else np.arange(0)
    if size is None:
        size = BATCH if dataset.features else IMAGE_BATCH
        size = min(size, file.max_rows or size)
    feed, step = feed_columns if dataset.features else feed_images, file.batch or size
    chunks = (rows[start : start + step] for start in range(0, len(rows), step))
    return (feed(file, config, dataset, chunk, str(file.path)) for chunk in chunks), np.arange(len(rows))


def run_rows(
    file: ExternalFile,
    config: ExternalModelConfig,
    config_path: str,
    dataset: Dataset,
    rows: np.ndarray,
    size: int | None = None,
    encoded: TokenIds | None = None,
) -> OutputCandidates:
    """Return every output for some rows, in their order; the parameters are those of `feeds_of_rows`."""
    feeds, order = feeds_of_rows(file, config, config_path, dataset, rows, size, encoded)
    candidates = file.run(feeds, len(rows), dataset.name)
    if dataset.kind != "text":
        return candidates
    back = np.argsort(order)
    values = {
        name: [value[i] for i in back.tolist()] if isinstance(value, list) else value[back]
        for name, value in candidates.values.items()
    }
    return OutputCandidates(values, candidates.unfit)


def check_row_independence(
    file: ExternalFile,
    config: ExternalModelConfig,
    config_path: str,
    dataset: Dataset,
    output: Output,
    candidates: OutputCandidates,
) -> None:
    """Raise UserError if the output for a row depends on the other rows of the call or on padding, or is random.

    `candidates` are the outputs for the first rows of the dataset.
    """
    if file.operators & PER_CALL_RANGES:
        return
    sample = np.arange(min(SINGLE_ROWS, len(dataset)))
    rows, size = sample, 1
    if dataset.texts is not None:
        by_length = np.argsort([len(text) for text in dataset.texts[:SAMPLE_ROWS]], kind="stable")
        rows = by_length[np.linspace(0, len(by_length) - 1, len(sample)).astype(np.int64)]
        candidates = run_rows(file, config, config_path, dataset, rows, len(rows))
    elif file.batch is not None and file.batch > 1:
        rows, size = sample[::-1], file.batch
    repeated = run_rows(file, config, config_path, dataset, rows, size)
    for name in (output,) if isinstance(output, str) else output:
        alone, batched = repeated.values.get(name), candidates.values[name]
        if alone is None:
            same = False
        elif isinstance(batched, list):
            reordered = alone if size == 1 else alone[::-1]
            same = all(
                set(a) == set(b) and _nearly_equal(np.array([a[k] for k in a]), np.array([b[k] for k in a]))
                for a, b in zip(reordered, batched, strict=False)
            )
        else:
            same = _nearly_equal(alone if size == 1 else alone[::-1], batched[: len(sample)])
        if not same:
            neighbours = "the other rows of the call"
            if dataset.texts is not None:
                neighbours = "the other texts in its batch or on padding"
            raise UserError(
                f"{file.path}: its output {name!r} for a row depends on {neighbours}, or is random; export the "
                "model for inference (`model.eval()`), with one line of output per row"
                + (" and with its attention mask." if dataset.texts is not None else ".")
            )


def _nearly_equal(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    slack = 2e-2 if one.dtype == np.float16 else 1e-3
    scale = max(1.0, float(np.abs(other[np.isfinite(other)], dtype=float).max(initial=0.0)))
    return bool(np.allclose(one, other, rtol=slack, atol=slack * scale, equal_nan=True))
