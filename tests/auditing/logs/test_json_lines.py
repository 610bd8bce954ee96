"""JSON lines are read as they stand, and the first line that cannot be read is named."""

from __future__ import annotations

import pytest

from fairpress.auditing.logs.json_lines import JsonLines
from fairpress.core.errors import UserError

GOOD = b'{"id": 1, "doc": {"a/b": "x"}}\n'


def read(tmp_path, content, name="a.jsonl"):
    path = tmp_path / name
    path.write_bytes(content)
    keys, select = {"id": "VARCHAR", "doc": "JSON"}, {"id": "k0", "field": "json_extract_string(k1, '/a~1b')"}
    return JsonLines([str(path)]).read(keys, select).to_pylist()


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (GOOD * 2, ["1", "1"]),
        (b"\xef\xbb\xbf" + GOOD, ["1"]),
        (GOOD.replace(b"\n", b"\r\n") + b"\r\n\r\n" + GOOD, ["1", "1"]),
        (b'{"id": "x"}\n{"doc": {}}\n', ["x", None]),
        (b'{"id": NaN}\n{"id": -Infinity}\n', ["NaN", "-Infinity"]),
        (b'{"id": 123456789012345678901234567890}\n', ["123456789012345678901234567890"]),
    ],
)
def test_what_lines_hold(tmp_path, content, ids):
    assert [row["id"] for row in read(tmp_path, content)] == ids


def test_a_file_whose_name_is_a_pattern_is_read_itself(tmp_path):
    assert read(tmp_path, GOOD, "a[1]*.jsonl")[0] == {"id": "1", "field": "x"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + b'{"id": 2, "do', "line 2: not JSON; is the file complete"),
        (GOOD + b"\n" + GOOD[:-1] + GOOD, "line 3: not JSON"),
        (GOOD + b"[1, 2]\n", "line 2: list instead of an object"),
        (b'{"id": 1, "id": 2}\n', "line 1: the key 'id' is there twice"),
        (GOOD + b'{"id": "\xff"}\n', "line 2: not UTF-8 text"),
        (bytes(range(256)), "line 1: not"),
        (b'{"id": "\\ud800"}\n', "line 1: half of a surrogate pair"),
        (b"", "is empty; was the evaluation interrupted"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)


def test_a_folder_and_an_absent_file_are_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        JsonLines([str(tmp_path)])
    with pytest.raises(UserError, match="there is no file"):
        JsonLines([str(tmp_path / "absent.jsonl")])
