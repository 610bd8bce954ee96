"""The rule that chooses the positive class, for tables of predicted classes, scores and cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.json_file import parse_json
from fairpress.core.values import class_key, named_positive, resolve

TASK = b"fairpress.task"
"""Metadata of a predictions table or of cells: JSON, ``{"label": …, "classes": […], "positive": class or null}``; with
``"no_positive": true`` none is positive, such as the first and the second of two answers to choose from."""

Origin = Literal["option", "table", "name", "order"]
_OPPOSITES = (0.0, -1.0)


@dataclass(frozen=True)
class PositiveClass:
    """The positive class and how it was chosen.

    `origin`: ``"option"`` (the user named it), ``"table"`` (the metadata that `predict` writes), ``"name"`` (it is called
    yes or 1), ``"order"`` (the last of two in alphabetical order); None where there is no positive class.
    """

    name: str | None
    origin: Origin | None = None

    def doubtful(self, classes: Sequence[str]) -> bool:
        """Return whether the choice is only a convention: alphabetical order, or 1 among the classes 1 and 2."""
        if self.origin == "name" and self.name is not None and class_key(self.name) == 1.0:
            numbers = [class_key(c) for c in classes if c != self.name]
            return any(isinstance(n, float) and n not in _OPPOSITES for n in numbers)
        return self.origin == "order"


@dataclass(frozen=True)
class RecordedTask:
    """What the metadata of a table records about its label.

    Attributes
    ----------
    positive
        The positive class; None if the metadata names none.
    no_positive
        Whether it says that none is: classes are answers to choose from, which may never be right or never be chosen.
    """

    positive: str | None = None
    no_positive: bool = False


def choose_positive(
    classes: Sequence[str], option: Any, recorded: RecordedTask | None, label: str, source_name: str
) -> PositiveClass:
    """Return the positive class of a label.

    Parameters
    ----------
    option
        The class that the user named, or None.
    recorded
        What the table's metadata records, or None.

    Raises
    ------
    UserError
        The option is not a class of the label.
    """
    if option is not None:
        matched = resolve(option, classes)
        if matched is None:
            raise UserError(
                f"{source_name}: {str(option)!r} is not a value of {label!r}."
                + did_you_mean(str(option), classes)
            )
        return PositiveClass(matched, "option")
    positive = None if recorded is None else recorded.positive
    recorded_class = None if positive is None else resolve(positive, classes)
    if recorded_class is not None:
        return PositiveClass(recorded_class, "table")
    if len(classes) != 2 or (recorded is not None and recorded.no_positive):
        return PositiveClass(None)
    named = named_positive(classes)
    return PositiveClass(named, "name") if named is not None else PositiveClass(classes[1], "order")


def refuse_doubtful_positive(
    positive: PositiveClass, classes: Sequence[str], columns: Iterable[str], source_name: str
) -> None:
    """Raise UserError where predictions come from scores and only a convention determines their class."""
    if not positive.doubtful(classes):
        return
    first, *_ = columns
    raise UserError(
        f"{source_name}: the column {first!r} holds scores, and nothing indicates whether they are of {classes[0]!r} "
        f"or {classes[1]!r}; name the class of high scores: `positive={classes[0]!r}` or `positive={classes[1]!r}`."
    )


def task_metadata(
    label: str, classes: Sequence[str], positive: str | None, *, no_positive: bool = False
) -> dict[str, str]:
    """Return the metadata entry that records a task."""
    task = {"label": label, "classes": list(classes), "positive": positive}
    return {TASK.decode(): json.dumps(task | ({"no_positive": True} if no_positive else {}))}


def recorded_task(metadata: Sequence[tuple[str, bytes]]) -> RecordedTask | None:
    """Return what the metadata of tables (table name, bytes) records about the label; None where none records anything.

    Raises UserError where two tables record different positive classes.
    """
    table_by_class: dict[str, str] = {}
    no_positive = []
    for table_name, value in metadata:
        try:
            task = parse_json(value, f"the metadata of {table_name}")
        except UserError:
            continue
        if not isinstance(task, Mapping):
            continue
        no_positive.append(task.get("no_positive") is True)
        name = task.get("positive")
        if not isinstance(name, (str, int, float)):
            continue
        text = str(name)
        other = next((o for o in table_by_class if class_key(o) != class_key(text)), None)
        if other is not None:
            raise UserError(
                f"the positive class is {other!r} in {table_by_class[other]} and {text!r} in {table_name}; name the "
                "one to audit with `positive=`."
            )
        table_by_class.setdefault(text, table_name)
    if not no_positive:
        return None
    return RecordedTask(next(iter(table_by_class), None), all(no_positive))


def positive_note(positive: PositiveClass, classes: Sequence[str]) -> str | None:
    """Return the note on a positive class that was chosen by convention; None for any other."""
    if positive.name is None or not positive.doubtful(classes):
        return None
    other = next(c for c in classes if c != positive.name)
    why = (
        "because it is the last in alphabetical order"
        if positive.origin == "order"
        else "because of its name"
    )
    return (
        f"The positive class is {positive.name!r}, chosen {why}: TPR is the share of {positive.name!r} that is "
        f"detected, and selected means predicted {positive.name!r}. For the other class: `positive={other!r}`."
    )
