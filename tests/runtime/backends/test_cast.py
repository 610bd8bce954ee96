"""A column survives its cast to an input's type, or it is refused with the value that would not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairpress.core.errors import UserError
from fairpress.runtime.backends.cast import NUMPY, cast, round_trip

WHOLE = [k for k in NUMPY if "int" in k]


def fed(values, kind):
    return cast(np.asarray(values), f"tensor({kind})", "x", "code", "m.onnx")


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["yes", "no", "True", "0"], "bool", [True, False, True, False]),
        ([1.0, 0.0], "bool", [True, False]),
        ([3.0, -2.0], "int8", [3, -2]),
        (["3", " -2 "], "int64", [3, -2]),
        (["9007199254740993"], "int64", [9007199254740993]),
        (["18446744073709551615"], "uint64", [18446744073709551615]),
        (["02", "1.0"], "string", ["02", "1.0"]),
        ([1, 2], "string", ["1", "2"]),
        (["1e3"], "float", [1000.0]),
        ([0.25], "float16", [0.25]),
        ([np.nan], "float", [np.nan]),
    ],
)
def test_values_that_an_input_can_hold_arrive_as_they_are(values, kind, expected):
    result = fed(values, kind)
    assert result.dtype == NUMPY[f"tensor({kind})"]
    np.testing.assert_array_equal(result, np.array(expected, dtype=result.dtype))


@pytest.mark.parametrize(
    ("values", "kind", "sentence"),
    [
        (["yes", "maybe"], "bool", "'maybe', which is neither true, yes or 1 nor false, no or 0"),
        ([0.0, 2.0], "bool", "holds 2, which is neither 0 nor 1"),
        ([np.nan], "bool", "holds nan"),
        ([1.0, 2.0], "string", r"spelling \(1 or 1.0\) is not known.*`categorical: \[code\]`"),
        ([2.7], "int64", "holds 2.7; int64 has whole numbers from"),
        (["2.7"], "int32", "holds 2.7"),
        ([np.nan], "int64", "holds nan"),
        ([128.0], "int8", "holds 128; int8 has whole numbers from -128 to 127"),
        ([-1.0], "uint16", "holds -1; uint16"),
        ([2.0**63], "int64", r"holds 9,223,372,036,854,775,808"),
        ([70000.0], "float16", "holds 70,000, which is beyond its range"),
        ([1e39], "float", r"holds 1e\+39, which is beyond its range"),
        (["tall"], "float", "holds 'tall'; name encoded columns such as 'race=Asian'"),
        (["1_000"], "float", "holds '1_000'"),
        (["1e999"], "double", "holds '1e999'"),
    ],
)
def test_a_value_that_would_become_another_one_is_named(values, kind, sentence):
    with pytest.raises(UserError, match=sentence):
        fed(values, kind)


@given(st.lists(st.floats(allow_nan=True, width=64), min_size=1, max_size=5), st.sampled_from(WHOLE))
def test_whole_numbers_are_kept_to_the_last_digit_or_refused(values, kind):
    array = np.array(values)
    try:
        result = cast(array, kind, "x", "code", "m.onnx")
    except UserError:
        limits = np.iinfo(NUMPY[kind])
        assert any(
            not np.isfinite(v) or v != int(v) or not limits.min <= int(v) <= limits.max for v in values
        )
    else:
        assert [int(v) for v in result.tolist()] == [int(v) for v in values]
        assert all(v == int(v) for v in values)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_texts_arrive_in_inputs_of_text_character_by_character(texts):
    # numpy's own texts end before trailing null characters; tables hold none.
    texts = [t.replace("\0", "0") for t in texts]
    assert cast(np.array(texts), "tensor(string)", "x", "code", "m.onnx").tolist() == texts


def test_whole_numbers_that_floats_round_are_found():
    assert round_trip(np.array([5.0, 16777217.0]), "tensor(float)") == ("16,777,217", "16,777,216")
    assert round_trip(np.array([2049]), "tensor(float16)") == ("2,049", "2,048")
    assert round_trip(np.array([16777217.0]), "tensor(double)") is None
    assert round_trip(np.array([0.1, 3.0]), "tensor(float)") is None
    assert round_trip(np.array(["16777217"]), "tensor(float)") is None
