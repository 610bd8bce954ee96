"""Packages that come with an extra, and the sentence that names it where one is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from fairpress.core.errors import MissingExtra

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_MODELS = ("Running, describing or compressing a model", "onnx")
OPTIONAL = {
    "pyarrow": (
        "Reading a frame of polars or Arrow, logs of evaluations or a dataset, or writing Parquet,",
        "arrow",
    ),
    "onnx": _MODELS,
    "onnx_ir": _MODELS,
    "onnxruntime": _MODELS,
    "PIL": ("Decoding an image", "onnx"),
}
"""Module → what needs it, and the extra that brings it. Others are checked where they are used."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return the error that names the extra of a module that was not found; None for a module of no extra."""
    known = OPTIONAL.get((error.name or "").partition(".")[0])
    return None if known is None else MissingExtra(*known)


def names_missing_extra(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Return a function that raises MissingExtra where a module of an extra is not found."""

    @wraps(function)
    def with_sentence(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return function(*args, **kwargs)
        except ModuleNotFoundError as error:
            known = missing_extra(error)
            if known is None:
                raise
            raise known from None

    return with_sentence
