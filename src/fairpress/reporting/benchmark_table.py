"""A benchmark on the terminal, within 100 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fairpress.reporting.formatting import size
from fairpress.reporting.terminal import clean
from fairpress.runtime.benchmark.measure import Measurement
from fairpress.runtime.benchmark.result import BenchmarkResult, format_ratio
from fairpress.runtime.benchmark.statistics import quartiles

if TYPE_CHECKING:
    from rich.console import RenderableType


def render(bench: BenchmarkResult) -> Iterator[RenderableType]:
    """Yield the parts to print: sizes, times, sentences."""
    from rich.table import Table
    from rich.text import Text

    first = bench.measurements[0]
    threads = f"{first.threads} thread{'' if first.threads == 1 else 's'}"
    ran = ", ".join(dict.fromkeys(str(m.facts["runtime"]) for m in bench.measurements))
    yield Text(clean(f"{bench.processor}, {threads}; {ran}; fed with {_inputs(bench)}"), style="dim")
    for note in bench.notes:
        yield Text(f"! {clean(note)}", style="yellow")
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("model", overflow="fold")
    for name in ("file", "smaller", "gzipped", "smaller"):
        table.add_column(name, justify="right")
    for s in bench.sizes:
        base = bench.sizes[0]
        table.add_row(
            clean(s.model),
            size(s.bytes),
            f"{base.bytes / s.bytes:.2f}x",
            size(s.gzip_bytes),
            f"{base.gzip_bytes / s.gzip_bytes:.2f}x",
        )
    yield table
    several = len({m.runtime for m in bench.measurements}) > 1
    for batch in dict.fromkeys(m.batch for m in bench.measurements):
        yield Text("")
        yield _times(bench, batch, several)
    yield Text("")
    yield Text(
        "Quartiles over rounds; faster: than the first model, on the same runtime if it ran there, median of the rounds' "
        "ratios with its 95 % interval. MB: peak memory of a process that runs only this model; own: its excess over the "
        "same process with a network of one node. Both include the inputs.",
        style="dim",
    )
    first = bench.measurements[0]
    for best, ratio in bench.fastest():
        yield Text(
            clean(
                f"Fastest at batch {best.batch:,}: {best.model} on {best.runtime}, {format_ratio(ratio)} faster than "
                f"{first.model} on {first.runtime}."
            )
        )
    for sentence in bench.sentences():
        yield Text(f"! {clean(sentence)}", style="yellow")


def _times(bench: BenchmarkResult, batch: int, several: bool) -> RenderableType:
    from rich.table import Table

    measurements = [m for m in bench.measurements if m.batch == batch]
    title = f"batch {batch:,}, {len(measurements[0].seconds)} rounds"
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column(title, overflow="fold", min_width=len(title))
    if several:
        table.add_column("on", no_wrap=True)
    for name in ("a call", "quartiles", "rows/s", "faster", "MB", "own"):
        table.add_column(name, justify="right", no_wrap=True)
    for m in measurements:
        low, middle, high = quartiles(m.seconds)
        on = (m.runtime,) if several else ()
        table.add_row(
            clean(m.model),
            *on,
            duration(middle),
            duration(low, high),
            f"{batch / middle:,.0f}",
            "–" if m.speedup is None else format_ratio(m.speedup),
            *_memory(m),
        )
    return table


def duration(*seconds: float) -> str:
    """Format times in the unit of the last: ``41–47 µs``."""
    last = seconds[-1]
    unit, factor = ("µs", 1e6) if last < 1e-3 else ("ms", 1e3)
    digits = 2 if 1e-3 <= last < 0.01 else 1 if 0.01 <= last < 0.1 else 0
    return "–".join(f"{factor * s:,.{digits}f}" for s in seconds) + f" {unit}"


def _memory(m: Measurement) -> tuple[str, str]:
    if m.memory_peak is None or m.memory_before is None:
        return "?", "?"
    return f"{m.memory_peak / 1e6:,.0f}", f"{(m.memory_peak - m.memory_before) / 1e6:,.0f}"


def _inputs(bench: BenchmarkResult) -> str:
    return " and ".join(dict.fromkeys(s.inputs for s in bench.sizes))
