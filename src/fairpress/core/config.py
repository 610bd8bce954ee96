"""Read a YAML file into a typed config: every error at once, each with file, line, column and remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.yaml_file import raw_scalars, read_yaml

__all__ = [
    "ConfigError",
    "ConfigSource",
    "not_a_mapping",
    "parse",
    "plain",
    "raise_all",
    "read_yaml",
    "validate",
]

Config = TypeVar("Config", bound=BaseModel)


def not_a_mapping(source_name: object, document: object) -> UserError:
    """Return the error for a YAML document that is not a mapping."""
    kind = "nothing" if document is None else "a list" if isinstance(document, Sequence) else "something else"
    if isinstance(document, str):
        kind = "text"
    return UserError(f"{source_name}: expected `key: value` lines, found {kind}.")


@dataclass(frozen=True)
class ConfigSource:
    """A YAML document with the positions of its parts.

    Attributes
    ----------
    document
        What `read_yaml` returned, or plain dictionaries and lists (then locations have no line).
    name
        The file's name, for the messages.
    overridden
        Path of a part → the command-line override that set it; such a part has no line.
    """

    document: Any
    name: str
    overridden: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    def override(self, path: Sequence[Any]) -> str | None:
        """Return the command-line override that set the part at `path`, None if the file sets it."""
        return next(
            (t for p, t in reversed(list(self.overridden.items())) if tuple(path[: len(p)]) == p), None
        )

    def position(self, path: Sequence[Any]) -> tuple[int, int]:
        """Return the line and column (from 1) of the deepest part of `path` that the document has; else (0, 0)."""
        position, node = (0, 0), self.document
        for step in path:
            marks = getattr(node, "lc", None)
            if isinstance(node, list) and step in node:  # an item of a list of names, given by its name
                step = node.index(step)
            try:
                mark = (
                    None if not marks else marks.key(step) if isinstance(node, Mapping) else marks.item(step)
                )
                node = node[step]
            except (KeyError, IndexError, TypeError, AttributeError):
                break
            if mark:
                position = (mark[0] + 1, mark[1] + 1)
        return position

    def location(self, path: Sequence[Any]) -> str:
        """Return ``file:line:column`` of a part, or the command-line override that set it."""
        override = self.override(path)
        if override is not None:
            return f"override {override!r}"
        line, column = self.position(path)
        return f"{self.name}:{line}:{column}" if line else self.name


@dataclass(frozen=True, order=True)
class ConfigError:
    """A problem in a document; problems sort by line, those of command-line overrides first."""

    position: tuple[int, int]
    text: str

    @classmethod
    def from_path(cls, source: ConfigSource, path: Sequence[Any], text: str) -> ConfigError:
        """Return the problem of the part at `path`; `text` is a sentence."""
        position = (0, 0) if source.override(path) is not None else source.position(path)
        return cls(position, f"{source.location(path)}: {text}")


def raise_all(problems: Iterable[ConfigError]) -> None:
    """Raise one UserError with a line for each problem; do nothing if there is none."""
    lines = dict.fromkeys(p.text for p in sorted(problems))
    if lines:
        raise UserError("\n".join(lines))


def parse(model: type[Config], document: Any, source_name: str) -> Config:
    """Validate a document against a pydantic model.

    Parameters
    ----------
    model
        The config class.
    document
        What `read_yaml` returned, or plain dictionaries and lists (then errors name no line).
    source_name
        The file's name, for the messages.

    Raises
    ------
    UserError
        One line for every error: file, line, column, field, problem and the probable correction.
    """
    if not isinstance(document, Mapping):
        raise not_a_mapping(source_name, document)
    config, problems = validate(model, document, ConfigSource(document, source_name))
    raise_all(problems)
    assert config is not None
    return config


def validate(
    model: type[Config], values: Mapping[str, Any], source: ConfigSource, prefix: Sequence[Any] = ()
) -> tuple[Config | None, list[ConfigError]]:
    """Return the validated config, None where there are problems, and the problems.

    A model with a class attribute ``as_written = True`` gets the scalars of a YAML file as they are written there, so that
    ``02``, ``18_24`` and ``1.0`` keep their spelling in fields of text; fields of numbers read them all the same.

    Parameters
    ----------
    values
        The keys and values to validate.
    source
        The document that contains them, for locations.
    prefix
        Path to `values` within it.
    """
    given = raw_scalars(values) if getattr(model, "as_written", False) else plain(values)
    try:
        return model.model_validate(given), []
    except ValidationError as error:
        return None, [_problem(model, source, detail, prefix) for detail in error.errors(include_url=False)]


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


def _problem(
    model: type[BaseModel], source: ConfigSource, detail: ErrorDetails, prefix: Sequence[Any]
) -> ConfigError:
    path = [p for p in detail["loc"] if not (isinstance(p, str) and p.startswith("function-"))]
    whole = [*prefix, *path]
    name = ".".join(str(p) for p in whole) or "the file"
    message = _message(detail)
    if detail["type"] == "extra_forbidden":
        suggestion = did_you_mean(str(path[-1]), _fields(model, path[:-1]))
        return ConfigError.from_path(source, whole, f"unknown key {name!r}.{suggestion}")
    if detail["type"] == "missing":
        return ConfigError.from_path(source, whole[:-1], f"the key {name!r} is missing.")
    sentence = message if message.endswith("?") else f"{message}."
    return ConfigError.from_path(source, whole, sentence if name == "the file" else f"{name}: {sentence}")


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "`key: value` lines",
}


def _message(detail: ErrorDetails) -> str:
    """Return the problem in plain words instead of pydantic's."""
    kind, _, cause = detail["type"].partition("_")
    given = detail.get("input")
    if kind in _KINDS and cause in ("parsing", "type", "from_float"):
        plain_value = isinstance(given, str | int | float)
        shown = (
            "nothing" if given is None else _cut(repr(given), 80) if plain_value else "a list or a mapping"
        )
        return f"must be {_KINDS[kind]}, not {shown}"
    message = detail["msg"].removeprefix("Value error, ").rstrip(".")
    return _cut(message.replace("Input should be", "must be"), 500)


def _cut(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def _fields(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    """Return the keys allowed at `path`, as far as the annotations show."""
    current: Any = model
    for step in path:
        current = _optional(current)
        if hasattr(current, "model_fields"):
            info = current.model_fields.get(step)
            current = None if info is None else info.annotation
        else:  # tuple[X, …] or dict[str, X]: `step` is an index or a key
            current = next((a for a in get_args(current) if hasattr(a, "model_fields")), None)
    return list(getattr(_optional(current), "model_fields", ()))


def _optional(annotation: Any) -> Any:
    """Return X for X | None, anything else as it is."""
    inner = [a for a in get_args(annotation) if a is not type(None)]
    return inner[0] if len(inner) == 1 and type(None) in get_args(annotation) else annotation
