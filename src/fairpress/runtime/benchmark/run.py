"""Run a benchmark: rows for each model, all batch sizes in turn, then the kernels of models that turned out slow."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.progress import Progress
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.backends.base import Input, processor
from fairpress.runtime.backends.batching import MAX_BYTES, MAX_ROWS
from fairpress.runtime.backends.registry import kernels
from fairpress.runtime.benchmark.engine_session import input_of_file
from fairpress.runtime.benchmark.inputs import BenchmarkModel, available_data, input_of, rows_for
from fairpress.runtime.benchmark.measure import BenchmarkRun, Measurement, load_warning, measure
from fairpress.runtime.benchmark.result import BenchmarkResult, Size
from fairpress.runtime.benchmark.token_rows import choose_length, maximum_length, reads_token_ids, token_rows
from fairpress.runtime.onnx.embedding_table import embedding_rows
from fairpress.tokenization.tokenizer import TextTokenizer

MAX_ROUNDS, MAX_SECONDS = 100_000, 86_400
TABLE_BATCHES, OTHER_BATCHES = (1, 32, 1000), (1, 32)


def bench_all(
    entries: Sequence[BenchmarkModel],
    batches: Sequence[int] | None = None,
    *,
    length: int | None = None,
    rounds: int | None = None,
    seconds: float = 20.0,
    progress: Progress | None = None,
) -> BenchmarkResult:
    """Measure every entry on each of its runtimes at every batch size.

    A file that requires a fixed number of rows is measured at that number only, and a note is added. Texts have `length`
    token ids each, by default 64 or what the models read.

    Raises
    ------
    UserError
        See `fairpress.api.bench`.
    """
    if rounds is not None and rounds < 1:
        raise UserError(f"`rounds={rounds}` is too small; use at least 1 (6 for an interval).")
    if rounds is not None and rounds > MAX_ROUNDS:
        raise UserError(f"`rounds={rounds}` is too large; use at most {MAX_ROUNDS:,}.")
    if not 0 < seconds <= MAX_SECONDS:
        raise UserError(
            f"`seconds={seconds:g}` is out of range; use a number above 0 and at most {MAX_SECONDS:,} (a day)."
        )
    if batches is not None and (not batches or min(batches) < 1):
        raise UserError("`batch=` takes numbers of rows, each 1 or more, such as 1,32.")
    runs, sizes, tables = _benchmark_runs(entries, length)
    notes = [sentence for sentence in (load_warning(), _tokenizers_differ(entries)) if sentence]
    requested = list(dict.fromkeys(batches or (TABLE_BATCHES if tables else OTHER_BATCHES)))
    for c in runs:
        too_large = [b for b in requested if b > MAX_ROWS or b * c.rows[0].nbytes > MAX_BYTES]
        if too_large and c.fixed_batch is None:
            raise UserError(f"`batch={too_large[0]}` is too large; use at most {MAX_ROWS:,} rows and 1 GiB.")
    measurements: list[Measurement] = []
    for batch in sorted({*requested, *(c.fixed_batch for c in runs if c.fixed_batch)}):
        runnable = [c for c in runs if (c.fixed_batch or (batch if batch in requested else None)) == batch]
        if runnable:
            measurements += measure(runnable, batch, rounds=rounds, seconds=seconds, progress=progress)
    for c in {c.model: c for c in runs if c.fixed_batch}.values():
        if [c.fixed_batch] != requested:
            notes.append(
                f"{c.model} requires exactly {c.fixed_batch} row{'s' * (c.fixed_batch != 1)} per call and was measured at "
                "that batch size."
            )
    bench = BenchmarkResult(sizes, measurements, processor(), notes=notes)
    slow: dict[tuple[str, str], int] = {}  # the smallest batch size at which a model is slower
    for m in bench.slower():
        slow.setdefault((m.model, m.runtime), m.batch)
    return replace(
        bench,
        kernels={
            key: kernels(c.onnx, c.runtime, slow[key])
            for c in runs
            if (key := (c.model, c.runtime.name)) in slow and c.path is None
        },
    )


def _benchmark_runs(
    entries: Sequence[BenchmarkModel], length: int | None
) -> tuple[list[BenchmarkRun], list[Size], bool]:
    """Return the runs, the sizes of the files, and whether all models read columns of tables."""
    dataset = next((d for d in (available_data(e.card) for e in entries) if d is not None), None)
    specs = [
        input_of(entry.onnx, f"model {entry.name!r}")
        if entry.path is None
        else input_of_file(entry.path, entry.runtimes[0], f"model {entry.name!r}")
        for entry in entries
    ]
    texts = [reads_token_ids(spec) for spec in specs]
    if length is not None and not any(texts):
        raise UserError("`length=` is for models that read texts, and none of these does; leave it out.")
    if any(texts):
        longest = {e.name: None if e.card is None else maximum_length(e.card.inputs) for e in entries}
        length = choose_length(length, longest)
    tokenizer = next((e.tokenizer for e in entries if e.tokenizer is not None), None)
    runs, sizes, tables = [], [], True
    for entry, spec, reads in zip(entries, specs, texts, strict=True):
        if reads and length is not None:
            rows, source = _token_rows(entry, spec, tokenizer, dataset, length)
        else:
            rows, source = rows_for(spec, dataset)
        tables &= not reads and rows.ndim == 2
        content = entry.content
        sizes.append(Size(entry.name, len(content), len(gzip.compress(content, 6, mtime=0)), source))
        runs += [
            BenchmarkRun(entry.name, entry.onnx, rows, r, spec.shape[0], entry.path) for r in entry.runtimes
        ]
    return runs, sizes, tables


def _token_rows(
    entry: BenchmarkModel, spec: Input, other: TextTokenizer | None, dataset: Dataset | None, length: int
) -> tuple[np.ndarray, str]:
    """Return token ids for a model; a file without a tokenizer gets those of another model that its embedding knows."""
    known = embedding_rows(entry.onnx, spec.name)
    fits = other is not None and known is not None and other.max_id < known
    tokenizer = entry.tokenizer or (other if fits else None)
    try:
        return token_rows(spec, entry.onnx, tokenizer, dataset, length)
    except UserError as error:
        raise UserError(f"model {entry.name!r}: {error}") from None


def _tokenizers_differ(entries: Sequence[BenchmarkModel]) -> str | None:
    """Return a note if equal numbers of token ids are not the same texts; else None."""
    if len({e.tokenizer.data for e in entries if e.tokenizer is not None}) < 2:
        return None
    return (
        "The models have different tokenizers: each runs texts of the same number of its own token ids, and a tokenizer "
        "that splits texts into more pieces needs more of them for the same text."
    )
