"""Read a YAML file into a typed config: every error at once, each with file, line, column and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fairpress.core.errors import UserError, did_you_mean

Config = TypeVar("Config", bound=BaseModel)


def read_yaml(path: str | Path) -> Any:
    """Return the document of a YAML file as ruamel's nodes, which know their lines.

    Raises
    ------
    UserError
        The file is absent, not UTF-8, not YAML, or has the same key twice; the sentence names the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    where = Path(path)
    try:
        return YAML(typ="rt", pure=True).load(where.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {where}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{where} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise UserError(f"cannot read {where}: {error.strerror or error}.") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else str(where)
        problem = (error.problem or "not YAML").splitlines()[0]
        raise UserError(f"{place}: {problem}; mend the YAML there.") from None
    except YAMLError as error:
        raise UserError(f"{where} is not YAML ({str(error).splitlines()[0]}).") from None


def parse(model: type[Config], document: Any, where: str) -> Config:
    """Validate a document against a pydantic model.

    Parameters
    ----------
    model
        The config class.
    document
        What `read_yaml` returned, or plain dictionaries and lists (then errors name no line).
    where
        The file's name, for the messages.

    Raises
    ------
    UserError
        One line for every error: file, line, column, the field, what is wrong and what was probably meant.
    """
    if not isinstance(document, Mapping):
        raise UserError(f"{where}: expected `key: value` lines, found {type(document).__name__}.")
    try:
        return model.model_validate(plain(document))
    except ValidationError as error:
        lines = [_sentence(model, document, detail, where) for detail in error.errors(include_url=False)]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def plain(node: Any) -> Any:
    """Return ruamel's nodes as plain dictionaries, lists and scalars."""
    if isinstance(node, Mapping):
        return {str(k): plain(v) for k, v in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [plain(v) for v in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return node if kind is bool else kind(node)
    return node


def _sentence(model: type[BaseModel], document: Any, detail: ErrorDetails, where: str) -> str:
    path = [p for p in detail["loc"] if not (isinstance(p, str) and p.startswith("function-"))]
    field = ".".join(str(p) for p in path) or "the file"
    message = detail["msg"].removeprefix("Value error, ").rstrip(".")
    if detail["type"] == "extra_forbidden":
        message = f"unknown key {field!r}." + did_you_mean(str(path[-1]), _fields(model, path[:-1]))
        return f"{_place(document, path, where)}: {message}"
    if detail["type"] == "missing":
        return f"{_place(document, path[:-1], where)}: the key {field!r} is missing."
    return f"{_place(document, path, where)}: {field}: {message}."


def _fields(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    """Return the keys allowed where `path` leads, as far as the annotations tell."""
    current: Any = model
    for step in path:
        info = current.model_fields.get(step) if hasattr(current, "model_fields") else None
        if info is None:
            return []
        current = info.annotation
    return list(current.model_fields) if hasattr(current, "model_fields") else []


def _place(document: Any, path: Sequence[Any], where: str) -> str:
    """Return file:line:column of the deepest part of `path` that the document has."""
    line = column = None
    node = document
    for step in path:
        marks = getattr(node, "lc", None)
        try:
            position = (
                marks.key(step)
                if isinstance(node, Mapping) and marks
                else marks.item(step)
                if marks
                else None
            )
            node = node[step]
        except (KeyError, IndexError, TypeError):
            break
        if position:
            line, column = position
    return where if line is None or column is None else f"{where}:{line + 1}:{column + 1}"
