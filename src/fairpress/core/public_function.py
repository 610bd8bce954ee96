"""Public functions answer a wrong argument with one sentence, whatever error it led to."""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import wraps
from numbers import Integral, Real
from typing import Any, Literal, ParamSpec, TypeVar, get_origin

from fairpress.core.errors import UserError
from fairpress.core.extras import names_missing_extra

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_NOUNS = {
    "str": "text",
    "None": "None",
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "os.PathLike[str]": "a path",
    "np.ndarray": "an array",
    "Model": "a model or its path",
    "nn.Module": "a torch module",
    "Dataset": "a dataset",
}
_PLURALS = {"str": "texts", "int": "whole numbers", "float": "numbers", "np.ndarray": "arrays"}


def public_function(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Return a function that raises UserError, one sentence, for an argument whose type is not the annotated one.

    Types are compared after an error, so that whatever works keeps working. Annotations of other classes are not compared.
    Where a module of an extra is not found, MissingExtra names it.
    """
    guarded = names_missing_extra(function)

    @wraps(function)
    def with_sentence(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return guarded(*args, **kwargs)
        except UserError as error:
            if "\n" in str(error):
                error.args = (_without_tables(str(error), (*args, *kwargs.values())), *error.args[1:])
            raise
        except MemoryError:
            raise
        except Exception as error:
            if (
                isinstance(error, OSError) and error.errno != errno.EBADF
            ):  # a full disk, not a number for a path
                raise
            sentence = _wrong_argument(function, args, kwargs)
            if sentence is None:
                raise
            raise UserError(sentence) from error

    return with_sentence


def _without_tables(message: str, values: Iterable[Any]) -> str:
    """Return a message with the class of a table or array in place of its rows."""
    for value in values:
        if "\n" in (text := repr(value)):
            message = message.replace(text, _described(value))
    return message


def _wrong_argument(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str | None:
    """Return the sentence about the first argument that does not fit its annotation; None where all fit."""
    signature = inspect.signature(function)
    try:
        arguments = signature.bind(*args, **kwargs).arguments
    except TypeError:  # of a name that the function does not have, Python says so itself
        return None
    for name, value in arguments.items():
        parameter = signature.parameters[name]
        alternatives = _alternatives(function, str(parameter.annotation))
        if parameter.kind is parameter.VAR_KEYWORD or any(_fits(value, kind) for kind in alternatives):
            continue
        expected = " or ".join(dict.fromkeys(map(_noun, alternatives)))
        return f"`{name}=` takes {expected}, not {_described(value)}."
    return None


def _alternatives(function: Callable[..., Any], annotation: str) -> list[str]:
    """Return the types of an annotation, with text for a choice of words, also under a name of the function's module."""
    names = vars(sys.modules[function.__module__])
    return [
        "str" if kind.startswith("Literal[") or get_origin(names.get(kind)) is Literal else kind
        for kind in _split(annotation, "|")
    ]


def _split(text: str, separator: str) -> list[str]:
    """Return the parts of an annotation between separators outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == separator and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _generic(kind: str) -> tuple[str, list[str]]:
    """Return the class of an annotation and its parameters: ``Mapping[str, int]`` → ``Mapping``, ``str`` and ``int``."""
    name, _, inner = kind.partition("[")
    return name, _split(inner.removesuffix("]"), ",") if inner else []


def _fits(value: Any, kind: str) -> bool:
    """Return whether a value is of an annotated type; True for types that are not known here."""
    if kind in _NOUNS:
        classes = {c.__name__ for c in type(value).__mro__}
        truth = type(value).__name__ in ("bool", "bool_")
        return {
            "str": isinstance(value, str),
            "None": value is None,
            "int": isinstance(value, Integral) and not truth,
            "float": isinstance(value, Real) and not truth,
            "bool": truth,
            "os.PathLike[str]": isinstance(value, os.PathLike),
            "np.ndarray": hasattr(value, "__array__"),
            "Model": isinstance(value, (str, os.PathLike)) or "Artifact" in classes,
            "nn.Module": "Module" in classes,
            "Dataset": "Dataset" in classes,
        }[kind]
    name, inner = _generic(kind)
    if name == "Mapping":
        return isinstance(value, Mapping) and all(_fits_any(v, inner[-1]) for v in value.values())
    if name == "tuple":
        return isinstance(value, tuple) and all(map(_fits_any, value, inner))
    if name in ("Sequence", "Iterable"):
        plain = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
        plain &= name == "Iterable" or hasattr(value, "__len__")
        listed = value if isinstance(value, (list, tuple, Set)) else ()
        return plain and not hasattr(value, "__array__") and all(_fits_any(v, inner[0]) for v in listed)
    return True


def _fits_any(value: Any, kinds: str) -> bool:
    return any(_fits(value, kind) for kind in _split(kinds, "|"))


def _noun(kind: str) -> str:
    name, inner = _generic(kind)
    if kind in _NOUNS or not inner:
        return _NOUNS.get(kind, f"a {name}")
    plural = _PLURALS.get(inner[-1], "values")
    return f"a dict of {plural}" if name == "Mapping" else f"a list of {plural}"


def _described(value: Any) -> str:
    """Return what a value is, without its content where that is long."""
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    name = type(value).__name__
    if name == "ndarray":
        return "an array"
    if isinstance(value, (list, tuple, Set)) and value:
        return f"a {name} of {' and '.join(sorted({type(v).__name__ for v in value}))}"
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
