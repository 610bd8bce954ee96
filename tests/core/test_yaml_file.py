"""A YAML file as values that know their lines and their spelling; what cannot be read is one sentence, soon."""

from __future__ import annotations

import random
import time

import pytest

from fairpress.core.errors import UserError
from fairpress.core.yaml_file import raw_scalars, read_yaml


@pytest.fixture
def read(tmp_path):
    def read(text: str | bytes):
        path = tmp_path / "x.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path)

    return read


def test_scalars_have_values_and_keep_their_spelling(read):
    document = read(
        "a: [18_24, 02134, on, yes, 1e3, 0x10, 2024-05-01, 12:30, 1.0, True, null, 'q']\nb: 02\nc:\nd: ~\n1.0: .5\n"
    )
    expected = [
        "18_24",
        "02134",
        "on",
        "yes",
        "1e3",
        "0x10",
        "2024-05-01",
        "12:30",
        "1.0",
        "True",
        "null",
        "q",
    ]
    assert raw_scalars(document) == {"a": expected, "b": "02", "c": None, "d": None, "1.0": ".5"}
    assert document["a"][:5] == [1824, 2134, "on", "yes", 1000.0]
    assert document["a"][5:] == [16, "2024-05-01", "12:30", 1.0, True, None, "q"]
    assert (document["b"], document["c"], document["1.0"]) == (2, None, 0.5)


def test_folded_text_is_one_line_without_marks_of_the_parser(read):
    assert read("a: >-\n  one two;\n  three\nb: >\n  x\n  y\n") == {"a": "one two; three", "b": "x y\n"}


def test_what_replaces_a_value_is_not_spelled_as_the_value_before(read):
    document = read("a: 02\nb: 1.0\n")
    document.update(a=3, b="x")
    assert raw_scalars(document) == {"a": 3, "b": "x"}


def test_aliases_and_merged_mappings_are_followed(read):
    document = read("base: &b {x: 01, y: 2}\nother: {<<: *b, y: 3}\nlist: [&v 1.0, *v]\n")
    assert document["other"] == {"x": 1, "y": 3}
    assert raw_scalars(document)["other"] == {"x": "01", "y": "3"}
    assert raw_scalars(document)["list"] == ["1.0", "1.0"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &a [*a]\n", "nested too deeply"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: " + "[" * 200 + "]" * 200, "nested too deeply"),
        ("a: 1\n" * 400_000, "more than 1,000,000 bytes"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
            ),
            "aliases expand to more than",
        ),
        ("a: !!python/object:os.system x\n", r"x\.yaml:1:4: the tag .* is not read"),
        ("{{ name }}: 1\n", r"x\.yaml:1:\d+: a key must be text"),
        ("a: 1\nb: 2\na: 3\n", r"x\.yaml:3:1: found duplicate key"),
        ("<<: 5\n", "takes a mapping"),
        (b"a: \xff\n", "not UTF-8"),
        ("a: [1\n", "correct the YAML"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_within_seconds(read, text, sentence):
    begin = time.monotonic()
    with pytest.raises(UserError, match=sentence):
        read(text)
    assert time.monotonic() - begin < 30  # such files took more than a minute


def test_a_date_that_does_not_exist_is_text(read):
    assert read("a: 2001-99-99\n") == {"a": "2001-99-99"}


def test_a_folder_is_no_yaml_file(tmp_path):
    with pytest.raises(UserError, match="is not a file"):
        read_yaml(tmp_path)


def test_damaged_yaml_is_read_or_refused_and_nothing_else(read):
    whole = "path: a.csv\nlabel: y\nclasses: [no, yes]\nsensitive:\n  sex:\n  age: {column: age, bins: [30, 50]}\nfolds: 2\n"
    pieces = [
        *"[]{}:-?!&*|>'\"%@`#,\t\x00",
        "<<: *a",
        "&a",
        "!!int x",
        "%YAML 1.1\n---\n",
        "...\n",
        "2001-99-99",
        "\\x",
    ]
    draw = random.Random(0)
    outcomes = {True: 0, False: 0}
    for _ in range(400):
        i = draw.randrange(len(whole))
        text = whole[:i] + draw.choice(pieces) + whole[i + draw.randrange(3) :]
        try:
            raw_scalars(read(text))
            outcomes[True] += 1
        except UserError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 20
