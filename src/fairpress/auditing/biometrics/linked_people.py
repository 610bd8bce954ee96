"""Which pairs of people depend on each other: those linked by a chain of shared people.

A person who is in many pairs makes all of them likely to fail, on either side of a pair. Clusters of one side alone (the
probe's person, say) take pairs with a common reference for independent. What is certainly independent are pairs that no
chain of people links: the connected components of the graph whose nodes are people and whose edges are pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.auditing.cells.open_source import open_source
from fairpress.core.errors import UserError
from fairpress.core.public_function import public_function

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 0.2
"""Largest share of the pairs that one component may have: from five clusters on, intervals mean something."""


@public_function
def link_people(table: Any, first: str, second: str, *, name: str = "linked") -> pa.Table:
    """Return a table of pairs with a column of linked people, for the audit's option `subject`.

    Parameters
    ----------
    table
        A row per pair, in any form that `audit` reads. Of files, columns of lists are left out.
    first, second
        The columns of the two people of a pair. A person has the same id in both.
    name
        The new column: a number for each connected component.

    Raises
    ------
    UserError
        The table cannot be read, a column is missing or has missing values, `name` exists, or one component has more than a
        fifth of the pairs.
    """
    import pyarrow as pa

    pairs = _arrow_table(table)
    for column in (first, second):
        if column not in pairs.column_names:
            raise UserError(
                f"the table has no column {column!r} of people; it has {', '.join(pairs.column_names)}."
            )
        if pa.types.is_nested(pairs.schema.field(column).type):
            raise UserError(
                f"the column {column!r} holds lists, not the ids of people; give a number or a name for each."
            )
        if pairs[column].null_count:
            raise UserError(f"the column {column!r} of people has missing values; leave these pairs out.")
    if name in pairs.column_names:
        raise UserError(f"the table has a column {name!r} already; choose another `name=`.")
    people = [c for side in (first, second) for c in pairs[side].cast(pa.string()).chunks]
    codes = np.asarray(pa.chunked_array(people, pa.string()).combine_chunks().dictionary_encode().indices)
    components = connected(codes[: pairs.num_rows], codes[pairs.num_rows :])
    sizes = np.bincount(components) if len(components) else np.zeros(1)
    if sizes.max() > LARGEST * max(pairs.num_rows, 1):
        raise UserError(
            f"chains of shared people link {sizes.max() / pairs.num_rows:.0%} of the pairs to one another: too few "
            f"independent clusters ({len(sizes):,}). Draw pairs within small blocks of people (`draw_pairs`), or keep the "
            "pairs whose people are in the same of many blocks."
        )
    return pairs.append_column(name, pa.array(components))


def connected(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the connected component [pairs] int of each pair of nodes, from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(nodes, nodes))
    labels = connected_components(graph, directed=False)[1][first]
    return np.asarray(np.unique(labels, return_inverse=True)[1])


def _arrow_table(table: Any) -> pa.Table:
    import pyarrow as pa

    if isinstance(table, pa.Table):
        return table
    try:
        return pa.table(table)
    except (TypeError, ValueError, pa.ArrowException):  # files, several tables, or what is no table
        return open_source(table).plain_table()
