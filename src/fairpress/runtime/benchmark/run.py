"""From models to a finished bench: rows for each, every batch size in turn, then what is known of the slow ones."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace

from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import processor
from fairpress.runtime.backends.batching import MOST_BYTES, MOST_ROWS
from fairpress.runtime.backends.registry import kernels
from fairpress.runtime.benchmark.inputs import BenchmarkModel, available_data, input_of, rows_for
from fairpress.runtime.benchmark.measure import BenchmarkRun, Measurement, Progress, busy, measure
from fairpress.runtime.benchmark.result import BenchmarkResult, Size

MOST_ROUNDS, LONGEST = 100_000, 86_400
TABLE_BATCHES, IMAGE_BATCHES = (1, 32, 1000), (1, 32)


def bench_all(
    entries: Sequence[BenchmarkModel],
    batches: Sequence[int] | None = None,
    *,
    rounds: int | None = None,
    seconds: float = 20.0,
    progress: Progress | None = None,
) -> BenchmarkResult:
    """Measure every entry on each of its runtimes at every batch size.

    A file that insists on a number of rows is measured at that number only, and a note says so.

    Raises
    ------
    UserError
        See `fairpress.api.bench`.
    """
    if rounds is not None and rounds < 1:
        raise UserError(f"--rounds is {rounds}; it must be at least 1 (6 for an interval).")
    if rounds is not None and rounds > MOST_ROUNDS:
        raise UserError(f"--rounds is {rounds:,}; take at most {MOST_ROUNDS:,}.")
    if not 0 < seconds <= LONGEST:
        raise UserError(f"--seconds is {seconds:g}; it must be above 0, and at most {LONGEST:,} (a day).")
    if batches is not None and (not batches or min(batches) < 1):
        raise UserError("--batch takes numbers of rows, 1 or more, such as 1,32.")
    notes = [sentence for sentence in (busy(),) if sentence]
    contestants, sizes, images = _contestants(entries)
    asked = list(dict.fromkeys(batches or (IMAGE_BATCHES if images else TABLE_BATCHES)))
    for c in contestants:
        beyond = [b for b in asked if b > MOST_ROWS or b * c.rows[0].nbytes > MOST_BYTES]
        if beyond and c.fixed_batch is None:
            raise UserError(
                f"--batch {beyond[0]:,} is more than can be run here; take at most {MOST_ROWS:,} rows and 1 GiB."
            )
    measurements: list[Measurement] = []
    for batch in sorted({*asked, *(c.fixed_batch for c in contestants if c.fixed_batch)}):
        able = [c for c in contestants if (c.fixed_batch or (batch if batch in asked else None)) == batch]
        if able:
            measurements += measure(able, batch, rounds=rounds, seconds=seconds, progress=progress)
    for c in {c.model: c for c in contestants if c.fixed_batch}.values():
        if [c.fixed_batch] != asked:
            notes.append(f"{c.model} takes exactly {c.fixed_batch} rows a call and was measured so.")
    bench = BenchmarkResult(sizes, measurements, processor(), notes=notes)
    slow = {(m.model, m.runtime) for m in bench.slower()}
    return replace(
        bench,
        kernels={
            (c.model, c.runtime.name): kernels(c.onnx, c.runtime)
            for c in contestants
            if (c.model, c.runtime.name) in slow
        },
    )


def _contestants(entries: Sequence[BenchmarkModel]) -> tuple[list[BenchmarkRun], list[Size], bool]:
    dataset = next((d for d in (available_data(e.card) for e in entries) if d is not None), None)
    contestants, sizes, images = [], [], False
    for entry in entries:
        wanted = input_of(entry.onnx, f"model {entry.name!r}")
        rows, source = rows_for(wanted, dataset)
        images |= rows.ndim > 2
        sizes.append(Size(entry.name, len(entry.onnx), len(gzip.compress(entry.onnx, 6, mtime=0)), source))
        contestants += [
            BenchmarkRun(entry.name, entry.onnx, rows, r, wanted.shape[0]) for r in entry.runtimes
        ]
    return contestants, sizes, images
