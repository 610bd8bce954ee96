"""JSON that anybody could have written: read exactly, or refused in one sentence that names the file, and soon."""

from __future__ import annotations

import json
import os
import time

import pytest

from fairpress.core.errors import UserError
from fairpress.core.json_file import MAX_DEPTH, parse_json, read_json


def test_what_is_json_is_read_as_it_is(tmp_path):
    content = {
        "a": [1, 2.5, None, True],
        "b": {"c": "é 😀"},
        "large": 2**64 - 1,
        "deep": json.loads("[" * 90 + "]" * 90),
    }
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())  # with the mark that Windows puts there
    assert read_json(path, "a card") == content
    assert parse_json(json.dumps(content), "x") == content


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "not JSON at line 1"),
        (b'{"a": 1', "not JSON at line 1"),
        (b'{"a": 1}\n{"b": 2}', "line 2"),
        (b'\xff\xfe{"a": 1}', "not UTF-8 text, at byte 0"),
        (b"[" * 200 + b"]" * 200, f"more than {MAX_DEPTH} levels"),
        (b"[" * 1_000_000, f"more than {MAX_DEPTH} levels"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, f"more than {MAX_DEPTH} levels"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": ' + b"9" * 30 + b"}", "too large"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "too large"),
        (b'{"a": "\\ud800"}', "surrogate"),
    ],
)
def test_what_is_damaged_is_refused_in_one_sentence(tmp_path, data, named):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    begun = time.monotonic()
    with pytest.raises(UserError) as refused:
        read_json(path, "a card", remedy="create the model again")
    assert time.monotonic() - begun < 5
    text = str(refused.value)
    assert text.startswith(f"{path} cannot be read (")
    assert text.endswith("); create the model again.")
    assert named in text
    assert len(text) < 400 + len(str(path))


def test_numbers_beyond_floats_are_read_where_a_writer_may_write_them():
    result = parse_json('{"a": NaN, "b": 1e999}', "x", finite=False)
    assert result["a"] != result["a"]
    assert result["b"] == float("inf")


def test_what_is_no_file_is_not_opened(tmp_path):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for path, named in (
        (pipe, "is a device or a pipe"),
        (tmp_path, "is a folder"),
        (tmp_path / "none.json", "there is no file"),
        (tmp_path / ("x" * 300), "cannot read"),
        (tmp_path / "a\0b", "cannot read"),
    ):
        with pytest.raises(UserError, match=named):
            read_json(path, "a card")


def test_more_than_the_bound_is_not_read(tmp_path):
    path = tmp_path / "x.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: no bytes on the disk
    with pytest.raises(UserError, match="has more than 1 MiB"):
        read_json(path, "a card", 1 << 20)
    with pytest.raises(UserError, match="has more than 10 bytes"):
        parse_json("[" + " " * 20 + "]", "x", 10)


def test_integers_that_are_too_large_are_floats_where_numbers_need_not_be_finite():
    document = parse_json(
        b'{"a": 1000000000000000019884624838656, "b": 18446744073709551615}', "d", finite=False
    )
    assert document == {"a": 1e30, "b": 2**64 - 1}
    assert isinstance(document["a"], float)
    assert parse_json(b"9" * 10_000, "d", finite=False) == float("inf")
