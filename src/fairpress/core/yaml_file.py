"""Read a YAML file as plain Python values that know their lines, and how each value is written in the file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 200_000
MAX_MARKS = 100_000
MAX_DEPTH = 60
MAX_BRACKET_DEPTH = 400
_MARKS = re.compile(r"[,:\n\r\[\]{}]")
_TAG = "tag:yaml.org,2002:"
_NULL, _TRUE, _FALSE = ("", "~", "null"), ("true", "yes", "on", "y"), ("false", "no", "off", "n")


@dataclass
class Lines:
    """Positions of the parts of a mapping or list: key or index → (line, column), both from 0."""

    data: dict[Any, tuple[int, int]] = field(default_factory=dict)

    def key(self, step: Any) -> tuple[int, int]:
        """Return the position of a key. Raises KeyError if it is not in the file."""
        return self.data[step]

    def item(self, step: int) -> tuple[int, int]:
        """Return the position of an item. Raises KeyError if it is not in the file."""
        return self.data[step]


class _SourceText:
    """The common part of mappings and lists.

    Attributes
    ----------
    lc
        Lines and columns.
    texts
        Key or index → a value that is not text, and its spelling in the file: ``(1824, "18_24")``.
    """

    lc: Lines
    texts: dict[Any, tuple[Any, str]]

    def text(self, step: Any, value: Any) -> str | None:
        """Return the spelling of a value; None if the file has another value there, or text."""
        parsed, spelling = self.texts.get(step, (None, None))
        return spelling if type(parsed) is type(value) and parsed == value else None


class YamlMapping(dict[str, Any], _SourceText):
    """A mapping of a YAML file; its keys are the text in the file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lc, self.texts = Lines(), {}


class YamlList(list[Any], _SourceText):
    """A list of a YAML file."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lc, self.texts = Lines(), {}


def read_yaml(path: str | Path) -> Any:
    """Return the document of a YAML file: `YamlMapping`, `YamlList` (which know their lines) or a scalar.

    Dates and times stay text.

    Raises
    ------
    UserError
        The file is absent, too large, not UTF-8, not YAML, or has a duplicate key; the message names the line.
    """
    file = Path(path)
    return parse_yaml(_read(file), str(file))


def parse_yaml(text: str, source_name: str) -> Any:
    """Return the document of a YAML text as `read_yaml` does; `source_name` names it in error messages."""
    if len(text) > MAX_BYTES:
        raise UserError(f"{source_name} has more than {MAX_BYTES:,} characters, too many for a description.")
    if len(_MARKS.findall(text)) > MAX_MARKS:  # the parser would take half a minute
        raise UserError(
            f"{source_name} has more than {MAX_MARKS:,} lines, commas, colons and brackets, "
            "too many for a description; put the table into a separate file and name it under `path:`."
        )
    bracket_steps = [{"[": 1, "{": 1, "]": -1, "}": -1}[c] for c in re.findall(r"[\[\]{}]", text)]
    try:
        if (
            max(accumulate(bracket_steps), default=0) > MAX_BRACKET_DEPTH
        ):  # the parser would need long to give up
            raise RecursionError
        return _construct(text, source_name)
    except RecursionError:
        raise UserError(
            f"{source_name}: lists and mappings are nested too deeply; {MAX_DEPTH} levels are read."
        ) from None


def raw_scalars(node: Any) -> Any:
    """Return plain dictionaries and lists whose scalars are the text in the file; null alone stays None."""
    if isinstance(node, Mapping):
        return {str(k): raw_scalars(_scalar(node, k, value)) for k, value in node.items()}
    if isinstance(node, list | tuple):
        return [raw_scalars(_scalar(node, i, value)) for i, value in enumerate(node)]
    return node


def _scalar(holder: Any, step: Any, value: Any) -> Any:
    text = holder.text(step, value) if isinstance(holder, _SourceText) else None
    if text is None or (value is None and (isinstance(holder, Mapping) or not text)):
        return value
    return text


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a file; name a YAML file.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(
                f"{path} has more than {MAX_BYTES:,} bytes, too many for a description; put the table into a "
                "separate file and name it under `path:`."
            )
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None


def _construct(text: str, source_name: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or "not YAML").splitlines()[0]
        location = f"{source_name}:{mark.line + 1}:{mark.column + 1}" if mark else source_name
        raise UserError(f"{location}: {problem}; correct the YAML there.") from None
    except YAMLError as error:
        raise UserError(f"{source_name} is not YAML ({str(error).splitlines()[0]}).") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError) as error:
        # The parser fails on some directives and escapes without a position.
        raise UserError(
            f"{source_name} cannot be read as YAML ({type(error).__name__}); check its syntax."
        ) from None
    return None if root is None else _Reader(source_name).value(root, 0)


class _Reader:
    """Turns composed nodes into values and counts them, since aliases may repeat one node many times."""

    def __init__(self, source_name: str) -> None:
        self.source_name = source_name
        self.n_nodes = 0

    def value(self, node: Any, depth: int) -> Any:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        self.n_nodes += 1
        if self.n_nodes > MAX_NODES:
            raise self.problem(node, f"aliases expand to more than {MAX_NODES:,} values; write fewer")
        if depth > MAX_DEPTH:
            raise self.problem(node, f"lists and mappings are nested too deeply; {MAX_DEPTH} levels are read")
        kind = str(node.tag).removeprefix(_TAG)
        if kind not in _TAGS:
            raise self.problem(node, f"the tag {node.tag} is not read; leave it out")
        if isinstance(node, MappingNode):
            return self.mapping(node, depth)
        if isinstance(node, SequenceNode):
            items = YamlList()
            for i, item in enumerate(node.value):
                items.append(self.value(item, depth + 1))
                self.note(items, i, item, item)
            return items
        return self.scalar(node.value, kind, node.style)

    def mapping(self, node: Any, depth: int) -> YamlMapping:
        mapping = YamlMapping()
        merged: list[YamlMapping] = []
        for key, value in node.value:
            if str(key.tag) == f"{_TAG}merge":
                merged += self.merged(key, value, depth)
                continue
            if not isinstance(key.value, str):
                raise self.problem(key, "a key must be text, not a list or a mapping; put it in quotes")
            if key.value in mapping:
                raise self.problem(key, f'found duplicate key "{key.value}"; correct the YAML there')
            mapping[key.value] = self.value(value, depth + 1)
            self.note(mapping, key.value, key, value)
        for other in merged:
            for name, value in other.items():
                if name not in mapping:
                    mapping[name] = value
                    mapping.lc.data[name] = other.lc.data[name]
                    if name in other.texts:
                        mapping.texts[name] = other.texts[name]
        return mapping

    def merged(self, key: Any, value: Any, depth: int) -> Iterator[YamlMapping]:
        """Yield the mappings that ``<<`` names."""
        given = self.value(value, depth + 1)
        for mapping in given if isinstance(given, YamlList) else [given]:
            if not isinstance(mapping, YamlMapping):
                raise self.problem(key, "`<<` takes a mapping or a list of them")
            yield mapping

    def note(self, holder: YamlMapping | YamlList, step: Any, key_node: Any, node: Any) -> None:
        """Record the position of a part, and its spelling if that differs from its value."""
        holder.lc.data[step] = (key_node.start_mark.line, key_node.start_mark.column)
        if isinstance(node.value, str) and not isinstance(holder[step], str):
            holder.texts[step] = (holder[step], node.value)

    def scalar(self, text: str, kind: str, style: str | None) -> Any:
        if style in ("'", '"', "|", ">") and kind == "str":
            # The parser marks where it folded lines, with a control character.
            return text.replace("\a", "") if style == ">" else text
        try:
            return _RESOLVED.get(kind, str)(text)
        except (ValueError, OverflowError):
            return text

    def problem(self, node: Any, text: str) -> UserError:
        mark = node.start_mark
        return UserError(f"{self.source_name}:{mark.line + 1}:{mark.column + 1}: {text}.")


def _null(text: str) -> None:
    if text.lower() not in _NULL:
        raise ValueError(text)


def _bool(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError(text)
    return text.lower() in _TRUE


def _int(text: str) -> int:
    plain = text.replace("_", "")
    sign, digits = (-1, plain[1:]) if plain.startswith("-") else (1, plain.removeprefix("+"))
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower())
    return sign * (int(digits, 10) if base is None else int(digits[2:], base))


def _float(text: str) -> float:
    plain = text.replace("_", "").lower()
    special = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    return special[plain] if plain in special else float(plain)


_TAGS = ("null", "bool", "int", "float", "str", "timestamp", "value", "map", "seq", "!")
_RESOLVED = {"null": _null, "bool": _bool, "int": _int, "float": _float}
