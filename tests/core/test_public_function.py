"""A wrong argument of a public function is one sentence, whatever error it led to."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.core.public_function import public_function

TABLE = pd.DataFrame({"label": [0, 1] * 8, "sex": list("FFMM") * 4, "fp32": [0, 1] * 8, "int8": [0, 1] * 8})


@public_function
def sorted_by(
    names: Sequence[str], share: float, ids: Mapping[str, int] | None = None, first: str | None = None
) -> str:
    if ids is not None:
        share += sum(ids.values())
    return ", ".join(sorted(names))[: round(share)] + (first or "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"names": 3}, "`names=` takes a list of texts, not 3."),
        ({"names": None}, "`names=` takes a list of texts, not None."),
        ({"names": ["a", 1]}, "`names=` takes a list of texts, not a list of int and str."),
        ({"share": "half"}, "`share=` takes a number, not the text 'half'."),
        ({"share": pd.DataFrame({"a": [1]})}, "`share=` takes a number, not a DataFrame."),
        ({"ids": {"a": "x"}}, "`ids=` takes a dict of whole numbers or None, not a dict."),
        ({"first": np.zeros((3, 2))}, "`first=` takes text or None, not an array."),
    ],
)
def test_the_sentence_names_the_argument_and_what_it_takes(arguments, sentence):
    with pytest.raises(UserError) as raised:
        sorted_by(**{"names": ["b", "a"], "share": 9, **arguments})
    assert str(raised.value) == sentence
    assert raised.value.__cause__ is not None


def test_what_works_is_not_refused_for_its_type():
    assert sorted_by(np.array(["b", "a"]), np.float32(9), {"x": np.int64(1)}) == "a, b"
    assert sorted_by("ba", 4.5) == "a, b"


def test_errors_that_are_not_the_arguments_keep_their_traceback():
    @public_function
    def broken(n: int) -> int:
        return n + int("x")

    with pytest.raises(ValueError, match="invalid literal"):
        broken(1)
    with pytest.raises(TypeError, match="unexpected keyword"):
        broken(m=1)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()])
def test_errors_of_the_machine_are_not_blamed_on_an_argument_of_another_type(error):
    @public_function
    def full(names: Sequence[str]) -> None:
        raise error

    with pytest.raises(type(error)):
        full(np.array(["a"]))


def test_a_refusal_does_not_quote_the_rows_of_a_frame():
    with pytest.raises(UserError, match=r"name of one column, not a DataFrame\.$"):
        fp.audit(TABLE, baseline=TABLE, compressed=["int8"], by=["sex"])


CALLS = {
    "audit": {"table": TABLE, "baseline": "fp32", "compressed": ["int8"], "by": ["sex"]},
    "export_cells": {"table": TABLE, "baseline": "fp32", "compressed": ["int8"], "by": ["sex"]},
    "plan": {"table": TABLE, "by": ["sex"], "flips": 0.03},
    "thresholds": {"table": TABLE.assign(**{"fp32.score": 0.5}), "models": ["fp32"], "fpr": 0.5},
    "link_people": {"table": TABLE, "first": "sex", "second": "label"},
    "read_pair": {"models": {"a": "missing-a.csv", "b": "missing-b.csv"}, "key": "label"},
    "Guard": {"loop_rows": TABLE, "verdict_rows": TABLE, "by": "sex", "baseline": "fp32"},
}
WRONG = (
    None,
    3,
    -1,
    0.5,
    True,
    "nothing",
    b"x",
    [],
    {},
    [1],
    [{}],
    [[]],
    Path("x"),
    object(),
    TABLE,
    np.zeros((2, 2)),
)


@pytest.mark.parametrize("name", CALLS)
def test_whatever_a_table_is_asked_with_is_answered_or_refused_in_a_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refusals = []
    for option, value in itertools.product(CALLS[name], WRONG):
        try:
            getattr(fp, name)(**{**CALLS[name], option: value})
        except UserError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert not [text for text in refusals if "\n" in text]


@pytest.mark.parametrize("name", ["to_html", "to_markdown", "to_latex"])
def test_a_report_is_not_written_to_what_is_no_path(name):
    report = fp.audit(TABLE, baseline="fp32", compressed=["int8"], by=["sex"])
    with pytest.raises(UserError, match=r"`path=` takes text or a path.*, not 3"):
        getattr(report, name)(3)
