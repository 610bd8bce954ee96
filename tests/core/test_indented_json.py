"""Indented JSON is that of the standard library, character for character."""

import json
import random

import pytest

from fairpress.core.indented_json import indented_json

SCALARS = [
    None,
    True,
    False,
    0,
    -7,
    10**20,
    0.1,
    -1e-300,
    1e16,
    float("inf"),
    float("-inf"),
    "",
    'é\n"\\,: ]',
]


def nested(random_state: random.Random, depth: int) -> object:
    if depth == 0 or random_state.random() < 0.2:
        return random_state.choice(SCALARS)
    size = random_state.randrange(5)
    values = [
        nested(random_state, depth - random_state.randrange(1, 3) if depth > 1 else 0) for _ in range(size)
    ]
    kind = random_state.randrange(3)
    if kind == 0:
        return values
    if kind == 1:
        return tuple(values)
    return {random_state.choice(["a", "b: ", "ä,", f"k{i}"]): v for i, v in enumerate(values)}


@pytest.mark.parametrize("sort_keys", [False, True])
@pytest.mark.parametrize("indent", [1, 2])
def test_it_is_the_text_of_the_standard_library(indent, sort_keys):
    random_state = random.Random(indent)
    for _ in range(500):
        value = nested(random_state, 5)
        expected = json.dumps(value, indent=indent, sort_keys=sort_keys)
        assert indented_json(value, indent, sort_keys=sort_keys) == expected


def test_keys_that_are_no_strings_are_written_as_the_standard_library_does():
    value = {1: [2], None: {"a": {}}, False: 1, 0.5: []}
    assert indented_json(value, 1) == json.dumps(value, indent=1)


@pytest.mark.parametrize("value", [float("nan"), [float("nan")], {"a": [{"b": float("inf")}]}])
def test_what_is_no_number_is_refused_where_it_is_not_allowed(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        indented_json(value, 1, allow_nan=False)


@pytest.mark.parametrize("value", [{1, 2}, [object()], {"a": [b"bytes"]}])
def test_other_values_raise_a_type_error(value):
    with pytest.raises(TypeError, match="not JSON serializable"):
        indented_json(value, 1)
