"""Results of queries as columns, without Arrow, hold the values that Arrow has."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest

from fairpress.auditing.cells.query_result import QueryResult, encode, numbers

TYPED = {
    "text": "'a'",
    "empty text": "''",
    "whole": "7",
    "large": "18446744073709551615::UBIGINT",
    "double": "0.1::DOUBLE",
    "nan": "'nan'::DOUBLE",
    "truth": "true",
    "decimal": "2.50::DECIMAL(5, 2)",
    "day": "DATE '2024-05-01'",
    "time": "TIMESTAMP '2024-05-01 01:02:03'",
    "letter": "'x'::ENUM('x', 'y')",
}


def result_of(query: str) -> QueryResult:
    return QueryResult.of(duckdb.connect().sql(query))


@pytest.mark.parametrize("value", TYPED.values(), ids=TYPED)
def test_a_value_of_any_type_is_that_of_arrow(value):
    query = f"SELECT * FROM (VALUES ({value}), (NULL), ({value})) AS t(v)"
    expected = duckdb.connect().sql(query).to_arrow_table()["v"].to_pylist()
    column = result_of(query)["v"]
    assert str(column.to_pylist()) == str(expected)
    assert [type(v) for v in column.to_pylist()] == [type(v) for v in expected]
    coded = encode(column)
    assert coded.codes.tolist() == [0, 1, 0]
    assert str(coded.values) == str(expected[:2])


def test_numbers_of_single_precision_keep_their_digits():
    coded = encode(result_of("SELECT * FROM (VALUES (0.1::FLOAT), (0.2::FLOAT), (0.1::FLOAT)) AS t(v)")["v"])
    assert coded.values == [np.float32(0.1), np.float32(0.2)]
    assert {type(v) for v in coded.values} == {np.float32}
    assert coded.codes.tolist() == [0, 1, 0]


def test_a_time_with_a_zone_is_in_utc_and_needs_no_package_of_zones():
    column = result_of("SELECT TIMESTAMPTZ '2024-05-01 02:00:00+02' AS v")["v"]
    assert column.to_pylist() == [datetime(2024, 5, 1, tzinfo=UTC)]


def test_codes_count_in_the_order_of_the_lines():
    coded = encode(result_of("SELECT * FROM (VALUES (3), (1), (3), (2)) AS t(v)")["v"])
    assert (coded.values, coded.codes.tolist()) == ([3, 1, 2], [0, 1, 0, 2])


def test_missing_numbers_are_nan():
    column = result_of("SELECT * FROM (VALUES (1.5::DECIMAL(4, 1)), (NULL)) AS t(v)")["v"]
    np.testing.assert_array_equal(numbers(column), [1.5, np.nan])


def test_a_result_without_lines_has_its_columns():
    for value in ("1", "1.5::DECIMAL(4, 1)"):
        result = result_of(f"SELECT {value} AS v WHERE false")
        assert (result.num_rows, result["v"].to_pylist(), result.to_pylist()) == (0, [], [])
