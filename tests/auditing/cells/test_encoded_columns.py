"""Columns of a query's result as distinct values in the order of their first lines."""

import numpy as np
import pytest

from fairpress.auditing.cells.query_result import ResultColumn, encode


def by_hand(values):
    """Return the distinct values in the order of their first line, and the index of each line's value."""
    distinct = list(dict.fromkeys(values))
    return distinct, [distinct.index(v) for v in values]


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "uint64"])
@pytest.mark.parametrize("spread", [1.0, 0.2])
def test_integers_are_numbered_in_the_order_of_their_first_line_whether_close_or_far(kind, spread):
    limits = np.iinfo(kind)
    rng = np.random.default_rng(0)
    close = limits.min + rng.integers(0, 100, 80, dtype=np.uint64).astype(object)
    values = [limits.max, *close] if spread == 1.0 else list(close)
    encoded = encode(ResultColumn("BIGINT", np.array(values, dtype=kind)))
    assert (encoded.values, encoded.codes.tolist()) == by_hand([int(v) for v in values])


@pytest.mark.parametrize("late", [0, 2, 3])
def test_an_integer_of_the_last_lines_alone_is_found_behind_many_others(late):
    head = [2, 0, 3, 1] if late == 0 else [v for v in (2, 0, 3, 1) if v != late]
    values = [7 + v for v in [*head * 4000, late, *head]]
    encoded = encode(ResultColumn("BIGINT", np.array(values)))
    assert (encoded.values, encoded.codes.tolist()) == by_hand(values)


def test_texts_are_numbered_likewise_and_a_missing_one_is_a_value():
    texts = ["b", "a", None, "b", "", None, "a"]
    encoded = encode(ResultColumn.of_objects("VARCHAR", texts))
    assert (encoded.values, encoded.codes.tolist()) == by_hand(texts)


def test_numbers_that_are_no_number_are_one_value():
    encoded = encode(ResultColumn.of_objects("DOUBLE", [float("nan"), 1.0, float("nan")]))
    assert encoded.codes.tolist() == [0, 1, 0]
