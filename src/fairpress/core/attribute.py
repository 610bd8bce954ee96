"""A sensitive attribute or an intersection of several, such as ``sex*race``: text at the edges, a value inside."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fairpress.core.errors import UserError

SEPARATOR = "*"


@dataclass(frozen=True)
class Attribute:
    """The names of one attribute, or of several that are crossed; no names at all: all rows are one group.

    ``str()`` gives the text form, ``"sex*race"``, which results, files and messages use.
    """

    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, columns: Collection[str]) -> Attribute:
        """Return the attribute that a user requested; blanks around a name are stripped unless a column is so called.

        Raises UserError for a column whose name contains an asterisk, an empty name, or one name twice.
        """
        if SEPARATOR in text and text in columns:
            raise UserError(
                f"`by={text!r}`: an asterisk separates the attributes of an intersection; rename this column."
            )
        names = tuple(name if name in columns else name.strip() for name in text.split(SEPARATOR))
        if not all(names):
            raise UserError(
                f"`by={text!r}`: write an intersection as sex*race, with an attribute on either side."
            )
        if len(set(names)) < len(names):
            raise UserError(f"`by={text!r}`: an intersection needs different attributes, such as sex*race.")
        return cls(names)

    @classmethod
    def from_text(cls, text: str) -> Attribute:
        """Return the attribute of a text form, as ``str()`` gives it; ``""`` is all rows."""
        return cls(tuple(text.split(SEPARATOR)) if text else ())

    def __str__(self) -> str:
        return SEPARATOR.join(self.names)


OVERALL = Attribute()
"""All rows as one group."""


def parse_attributes(texts: Iterable[str], columns: Iterable[str]) -> tuple[Attribute, ...]:
    """Return the requested attributes without duplicates and blank texts; see `Attribute.parse` for the errors.

    race*sex is the same intersection as sex*race: testing both would correct for it twice.
    """
    column_names = set(columns)
    attributes: dict[frozenset[str], Attribute] = {}
    for text in texts:
        if text.strip() or text in column_names:
            attribute = Attribute.parse(text, column_names)
            attributes.setdefault(frozenset(attribute.names), attribute)
    return tuple(attributes.values())


def names_of(attributes: Iterable[Attribute]) -> tuple[str, ...]:
    """Return the names that occur in some attribute, each once, in order of appearance."""
    return tuple(dict.fromkeys(name for attribute in attributes for name in attribute.names))
