"""The scripts of texts, such as Latin or Ethiopic, by the names of their letters in Unicode."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

NO_LETTERS = "no letters"
CHUNK_ROWS = 20_000
_SCRIPTS = {"CJK": "Han"}  # where the first word of a letter's name is not the usual name of its script


def letters_by_script(texts: Sequence[str] | np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the scripts that occur, in alphabetical order, and how many letters of each a text has.

    A letter is a character of Unicode's general category L; its script is the first word of its name ("LATIN SMALL LETTER
    A"), after compatibility normalization, so that mathematical and full-width letters count as what they look like. Digits,
    marks, punctuation and emoji have no script.

    Parameters
    ----------
    texts
        [rows].

    Returns
    -------
    tuple
        Names of scripts, and numbers of letters, ``int64`` [rows, scripts].
    """
    characters: set[str] = set()
    for chunk in _chunks(texts):
        characters.update(*chunk)
    script_of = {c: s for c in characters if (s := _script(c))}
    scripts = tuple(sorted(set(script_of.values())))
    column = np.full(
        0x110000, len(scripts), dtype=np.int32
    )  # the last column: characters that are not letters
    column[[ord(c) for c in script_of]] = [scripts.index(s) for s in script_of.values()]
    counted = [_counts(chunk, column, len(scripts) + 1) for chunk in _chunks(texts)]
    counts = np.concatenate(counted) if counted else np.zeros((0, len(scripts) + 1), dtype=np.int64)
    return scripts, counts[:, :-1]


def main_scripts(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return the script of most letters of each text, ``str`` [rows]; "no letters" where it has none."""
    scripts, counts = letters_by_script(texts)
    if not scripts:
        return np.full(len(texts), NO_LETTERS)
    return np.where(counts.any(axis=1), np.array(scripts)[counts.argmax(axis=1)], NO_LETTERS)


def _chunks(texts: Sequence[str] | np.ndarray) -> Iterator[Sequence[str] | np.ndarray]:
    for start in range(0, len(texts), CHUNK_ROWS):
        yield texts[start : start + CHUNK_ROWS]


def _script(character: str) -> str:
    """Return the script of a letter, empty for any other character."""
    letter = unicodedata.normalize("NFKC", character)[:1]
    if not unicodedata.category(letter).startswith("L") or unicodedata.category(letter) == "Lm":
        return ""
    word = unicodedata.name(letter, "").split(" ")[0]
    return _SCRIPTS.get(word, word.capitalize())


def _counts(texts: Sequence[str] | np.ndarray, column: np.ndarray, columns: int) -> np.ndarray:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    row = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    counts = np.bincount(row * columns + column[codes], minlength=len(texts) * columns)
    return counts.reshape(len(texts), columns)
