"""Pairs of nearly equal texts: MinHash of character 5-grams (Broder 1997), found by locality-sensitive hashing.

Signatures are cut into bands, and texts that agree in a band are candidates (Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, chapter 3). Each candidate's Jaccard similarity is then computed exactly, so that no pair is reported by
chance. With 16 bands of 4, a pair of similarity 0.8 is a candidate with probability 0.9998, and one of 0.5 with 0.64.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

SHINGLE = 5  # characters
BANDS, BAND_ROWS = 16, 4
NEIGHBOURS = (
    8  # texts of a bucket that each is compared with: without a limit, a bucket of n texts has n² pairs
)
MIN_SIMILARITY = 0.8
CHUNK_CHARACTERS = 4_000_000
MULTIPLIER = np.uint64(
    0x9E3779B97F4A7C15
)  # 2⁶⁴ divided by the golden ratio, which spreads neighbouring values
SLACK = 0.2  # by which a signature may underestimate: three standard errors at 0.8


def normalized(text: str) -> str:
    """Return a text without differences of case, blanks and compatibility forms of characters."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def near_duplicates(texts: Sequence[str], min_similarity: float = MIN_SIMILARITY) -> np.ndarray:
    """Return pairs of different texts that have nearly the same runs of five characters.

    Parameters
    ----------
    texts
        [texts] normalized, each once; texts of fewer than five characters equal no other.
    min_similarity
        Of the 5-grams that one of the two texts has, the share that both have.

    Returns
    -------
    numpy.ndarray
        ``int64`` [pairs, 2], indices of the texts, the smaller one first. Of a bucket of many candidates, each text is
        compared with eight others only.
    """
    long = np.array([i for i, text in enumerate(texts) if len(text) >= SHINGLE], dtype=np.int64)
    if len(long) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    signatures = np.concatenate([_signatures(chunk) for chunk in _chunks([texts[i] for i in long.tolist()])])
    pairs = _candidates(signatures)
    estimate = (signatures[pairs[:, 0]] == signatures[pairs[:, 1]]).mean(axis=1)
    pairs = long[pairs[estimate >= min_similarity - SLACK]]
    similar = [pair for pair in pairs.tolist() if jaccard(texts[pair[0]], texts[pair[1]]) >= min_similarity]
    return np.array(similar, dtype=np.int64).reshape(-1, 2)


def jaccard(a: str, b: str) -> float:
    """Return the share of 5-grams of either text that both have."""
    x, y = ({t[i : i + SHINGLE] for i in range(len(t) - SHINGLE + 1)} for t in (a, b))
    return len(x & y) / len(x | y)


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    ends = np.cumsum([len(text) for text in texts])
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], CHUNK_CHARACTERS), side="left").tolist()
    for start, end in zip(cuts, [*cuts[1:], len(texts)], strict=True):
        if start < end:
            yield texts[start:end]


def _signatures(texts: Sequence[str]) -> np.ndarray:
    """Return for each text the smallest of its 5-grams' hashes, under each of several hash functions, ``uint32``."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    shingles = np.zeros(len(codes) - SHINGLE + 1, dtype=np.uint64)
    for offset in range(SHINGLE):  # overflow is arithmetic modulo 2⁶⁴
        shingles = shingles * MULTIPLIER + codes[offset : len(codes) - SHINGLE + 1 + offset]
    starts = np.cumsum(lengths) - lengths
    inside = np.ones(len(codes), dtype=bool)  # 5-grams that end in the same text
    for offset in range(1, SHINGLE):
        inside[starts + lengths - offset] = False
    shingles = shingles[inside[: len(shingles)]]
    counts = lengths - SHINGLE + 1
    first = np.cumsum(counts) - counts
    shingles ^= shingles >> np.uint64(31)
    random = np.random.default_rng(0).integers(0, 2**63, BANDS * BAND_ROWS, dtype=np.uint64) * 2 + 1
    smallest = [
        np.minimum.reduceat(((shingles * factor) >> np.uint64(32)).astype(np.uint32), first)
        for factor in random
    ]
    return np.stack(smallest, axis=1)


def _candidates(signatures: np.ndarray) -> np.ndarray:
    """Return pairs of rows that agree in a band, ``int64`` [pairs, 2], each once, the smaller index first."""
    candidates = []
    for band in range(BANDS):
        bucket = np.zeros(len(signatures), dtype=np.uint64)
        for column in signatures[:, band * BAND_ROWS : (band + 1) * BAND_ROWS].T:
            bucket = (bucket ^ column) * MULTIPLIER
            bucket ^= bucket >> np.uint64(32)
        order = np.argsort(bucket, kind="stable")
        for step in range(1, NEIGHBOURS + 1):
            together = bucket[order[:-step]] == bucket[order[step:]]
            candidates.append(np.stack([order[:-step][together], order[step:][together]], axis=1))
            if not together.any():
                break
    pairs = np.sort(np.concatenate(candidates), axis=1)
    number = np.unique(pairs[:, 0] * len(signatures) + pairs[:, 1])
    return np.stack(np.divmod(number, len(signatures)), axis=1)
