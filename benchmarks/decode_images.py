"""How long images take to become pixels: one after another, in threads, in processes, the long way, and from the cache.

    python benchmarks/decode_images.py FOLDER [--images 2000] [--size 64] [--repeats 3]

All ways are timed in turn within each repeat, so that whatever else the machine does slows all of them; the median of
their ratios to the first way is printed. Then the whole folder is loaded twice as a dataset would load it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from fairpress.datasets.images.cache import decode_all
from fairpress.datasets.images.decode import decode
from fairpress.datasets.images.files import CHUNK, workers


def chunk(size: int, paths: Sequence[Path]) -> int:
    return sum(decode(path.read_bytes(), size).shape[0] for path in paths)


def whole(size: int, paths: Sequence[Path]) -> None:
    """Decode every pixel of the file before resizing: what a JPEG's short way saves."""
    for path in paths:
        with Image.open(path) as image:
            image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    every = sorted(p for p in given.folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = every[: given.images]
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    one = partial(chunk, given.size)
    with ThreadPoolExecutor(workers()) as threads, ProcessPoolExecutor(workers()) as processes:
        list(processes.map(one, chunks[:2]))  # they start and import before they are timed
        ways: dict[str, Callable[[], object]] = {
            "one after another": lambda: [one(c) for c in chunks],
            f"{workers()} threads (what fairpress does)": lambda: list(threads.map(one, chunks)),
            f"{workers()} processes": lambda: list(processes.map(one, chunks)),
            "one after another, every pixel decoded": lambda: whole(given.size, paths),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.repeats):
            for name, work in ways.items():
                started = time.perf_counter()
                work()
                taken[name].append(time.perf_counter() - started)
    first = taken["one after another"]
    for name, seconds in taken.items():
        ratio = statistics.median(a / b for a, b in zip(first, seconds, strict=True))
        print(f"{len(paths) / statistics.median(seconds):8,.0f} images/s  {ratio:5.2f} x  {name}")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["FAIRPRESS_CACHE"] = cache
        names = [p.name for p in every]
        for what in ("decoded and stored", "found again"):
            started = time.perf_counter()
            decode_all(given.folder, names, given.size, lambda _: None)
            print(f"{time.perf_counter() - started:8.2f} s  {len(names):,} images {what}")


if __name__ == "__main__":
    main()
