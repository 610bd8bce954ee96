"""Nearly equal texts among AfriSenti's tweets: ours, and the MinHash LSH of datasketch.

    FAIRPRESS_DATA=… python benchmarks/near_duplicates.py [TEXTS]

Both hash runs of five characters 64 times, look texts up in 16 bands of 4, and compare candidates exactly. The texts are
different ones, normalized as `fairpress data check` does; 20,000 by default, -1 for all. What is not installed is said and
left out.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec

from fairpress import datasets
from fairpress.core.progress import ignore_message
from fairpress.datasets.texts.near_duplicates import (
    BAND_ROWS,
    BANDS,
    MIN_SIMILARITY,
    SHINGLE,
    jaccard,
    near_duplicates,
    normalized,
)


def of_datasketch(texts: list[str]) -> set[tuple[int, int]]:
    """Return the pairs that datasketch finds."""
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(num_perm=BANDS * BAND_ROWS, params=(BANDS, BAND_ROWS))
    pairs = set()
    for i, text in enumerate(texts):
        grams = {text[j : j + SHINGLE].encode() for j in range(len(text) - SHINGLE + 1)}
        if not grams:
            continue
        sketch = MinHash(num_perm=BANDS * BAND_ROWS)
        sketch.update_batch(grams)
        pairs |= {(j, i) for j in lsh.query(sketch) if jaccard(texts[j], text) >= MIN_SIMILARITY}
        lsh.insert(i, sketch)
    return pairs


def main(count: int) -> None:
    """Print seconds and pairs of each."""
    data = datasets.load("afrisenti", on_message=ignore_message)
    assert data.texts is not None
    texts = list(dict.fromkeys(map(normalized, data.texts)))
    texts = texts if count < 0 else texts[:count]
    started = time.perf_counter()
    pairs = {tuple(pair) for pair in near_duplicates(texts).tolist()}
    print(f"fairpress   {len(texts):,} texts, {len(pairs):,} pairs, {time.perf_counter() - started:.1f} s")
    if find_spec("datasketch") is None:
        print("datasketch  is not installed")
        return
    started = time.perf_counter()
    theirs = of_datasketch(texts)
    print(f"datasketch  {len(texts):,} texts, {len(theirs):,} pairs, {time.perf_counter() - started:.1f} s")
    print(f"of their pairs we have {len(theirs & pairs):,}, of ours they have {len(pairs & theirs):,}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
