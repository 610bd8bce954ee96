"""Draw pairs of rows from embeddings: the same person twice, and two people of one group, within small blocks of people."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.public_function import public_function
from fairpress.core.seeds import checked_seed
from fairpress.core.values import spelling

if TYPE_CHECKING:
    import pyarrow as pa

SAME, DIFFERENT = "same", "different"
COLUMNS = ("label", "block", "first", "second")
CHUNK = 2**15  # pairs whose vectors are in memory at once


@public_function
def draw_pairs(
    embeddings: Mapping[str, np.ndarray],
    person: Sequence[Any] | np.ndarray,
    by: Mapping[str, Sequence[Any] | np.ndarray],
    *,
    people_per_block: int = 4,
    seed: int = 0,
) -> pa.Table:
    """Return a table of pairs with the cosine of their embeddings under each model, ready for `audit`.

    People of equal attributes are divided at random into blocks. A block has every pair of rows of one person, and of any
    two of its people one pair of rows, drawn at random. No person is in two blocks, so that blocks are independent,
    whichever side of a pair a person is on: ``subject="block"``.

    Parameters
    ----------
    embeddings
        Model → embeddings [rows, length]; row i of every model is of the same input.
    person
        The person of each row [rows].
    by
        Sensitive attribute → value of each row [rows]; equal in all rows of a person. Two people of a pair agree in all of
        them, since a false match between groups belongs to neither.
    people_per_block
        People in a block; a block has up to twice as many where they do not divide evenly. Blocks are the units of an
        audit: many small ones say more about the rate of false non-matches, large ones have more pairs of two people.

    Returns
    -------
    pyarrow.Table
        ``label`` (same, different), the attributes, ``block``, ``first`` and ``second`` (positions of the rows), and
        ``M.score`` for each model M, between −1 and 1.

    Raises
    ------
    UserError
        Lengths differ, a person has two values of an attribute, an attribute is called like another column of the result, an
        embedding is not a vector, zero or not finite, or there are no pairs.
    """
    checked_seed(seed)
    if people_per_block < 2:
        raise UserError(
            f"`people_per_block={people_per_block}` is too small; pairs of two people take 2 or more."
        )
    for option, given in (("embeddings", embeddings), ("by", by)):
        if not isinstance(given, Mapping):
            raise UserError(
                f"`{option}` is a dict, such as {{'int8': vectors}} or {{'sex': values}}, not {type(given).__name__}."
            )
    if clash := sorted({*COLUMNS, *(f"{m}.score" for m in embeddings)} & set(by)):
        raise UserError(
            f"the table of pairs has a column {clash[0]!r} of its own; name the attribute otherwise."
        )
    persons = np.array([spelling(p) for p in person], dtype=object)
    attributes = {name: np.array([spelling(v) for v in values], dtype=object) for name, values in by.items()}
    lengths = {"person": len(persons)} | {n: len(v) for n, v in attributes.items()}
    lengths |= {f"embeddings of {m}": len(e) for m, e in embeddings.items()}
    wrong = next((name for name, length in lengths.items() if length != len(persons)), None)
    if wrong is not None:
        raise UserError(
            f"{wrong} has {lengths[wrong]:,} rows, and person {len(persons):,}; give one for each row."
        )
    rows_of: dict[Any, list[int]] = {}
    for row, name in enumerate(persons):
        if name is None:
            raise UserError(f"the person of row {row} is missing; leave the row out.")
        rows_of.setdefault(name, []).append(row)
    first, second, blocks = _positions(rows_of, attributes, people_per_block, np.random.default_rng(seed))
    if not len(first):
        raise UserError(
            "there are no pairs: every person has one row, and no two people share their attributes."
        )
    import pyarrow as pa

    columns: dict[str, Any] = {
        "label": np.where(persons[first] == persons[second], SAME, DIFFERENT),
        **{name: pa.array(list(values[first]), pa.string()) for name, values in attributes.items()},
        "block": blocks,
        "first": first,
        "second": second,
    }
    for model, vectors in embeddings.items():
        unit, cosines = _unit(vectors, model), np.empty(len(first))
        for part in (slice(i, i + CHUNK) for i in range(0, len(first), CHUNK)):
            cosines[part] = np.einsum("ij,ij->i", unit[first[part]], unit[second[part]])
        columns[f"{model}.score"] = cosines
    return pa.table(columns)


def _positions(
    rows_of: Mapping[Any, list[int]],
    attributes: Mapping[str, np.ndarray],
    people_per_block: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two rows and the block of every pair [pairs] int64."""
    cells: dict[tuple[Any, ...], list[Any]] = {}
    for name, rows in rows_of.items():
        for attribute, values in attributes.items():
            if len({values[r] for r in rows}) > 1:
                raise UserError(f"the person {name!r} has several values of {attribute!r}; a person has one.")
        cells.setdefault(tuple(values[rows[0]] for values in attributes.values()), []).append(name)
    out: list[tuple[int, int, int]] = []
    block = 0
    for names in cells.values():
        order = generator.permutation(len(names))
        for part in np.array_split(order, max(1, len(names) // people_per_block)):
            people = [rows_of[names[i]] for i in part]
            out += [(*pair, block) for rows in people for pair in itertools.combinations(rows, 2)]
            for one, other in itertools.combinations(people, 2):
                out.append((int(generator.choice(one)), int(generator.choice(other)), block))
            block += 1
    triples = np.array(out, np.int64).reshape(-1, 3)
    return triples[:, 0], triples[:, 1], triples[:, 2]


def _unit(embeddings: Any, model: str) -> np.ndarray:
    """Return vectors [rows, length] of length 1. Raises UserError for anything else than a matrix of such vectors."""
    detached = embeddings.detach().cpu() if hasattr(embeddings, "detach") else embeddings
    vectors = np.asarray(detached, np.float64)
    if vectors.ndim != 2:
        shape = " × ".join(f"{n:,}" for n in vectors.shape)
        raise UserError(
            f"the embeddings of {model!r} are {shape}; give a vector for each row, [rows, length]."
        )
    norms = np.linalg.norm(vectors, axis=1)
    bad = ~np.isfinite(norms) | (norms == 0)
    if bad.any():
        raise UserError(
            f"the embedding of row {int(bad.argmax())} under {model!r} is zero or not finite, which has no direction; leave "
            "the row out of all models."
        )
    return np.asarray(vectors / norms[:, None])
