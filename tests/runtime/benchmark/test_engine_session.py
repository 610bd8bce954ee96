"""What bench says of files that it cannot time, and what an export says of what is no model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.runtime.benchmark.engine_session import input_of_engine
from fairpress.runtime.external.engines.base import FileInput


def engine(kind: str, shape: tuple[int | None, ...]) -> SimpleNamespace:
    return SimpleNamespace(inputs=(FileInput("input_0", kind, shape),), facts={})


def test_a_program_that_reads_texts_is_refused_with_a_way_to_time_them():
    with pytest.raises(UserError, match=r"token ids of any length.*model folder .* with --length"):
        input_of_engine(engine("tensor(int64)", (None, None)), "int8.pte")
    assert input_of_engine(engine("tensor(int64)", (None, 64)), "int8.pte").shape == (None, 64)


def test_an_export_of_what_is_no_model_is_a_sentence():
    with pytest.raises(UserError, match=r"not int; `fp.compress` takes modules"):
        fp.export(3)
