"""Which output of a Hugging Face classifier is which class of a dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from fairpress.core.errors import UserError, listed
from fairpress.core.values import resolve
from fairpress.datasets.dataset import Task

_UNNAMED = re.compile(r"LABEL_\d+")


def match_outputs(names: Sequence[str], task: Task, source: str) -> tuple[int, ...]:
    """Return for each class of a task the position of its output.

    Parameters
    ----------
    names
        The outputs' names in their order (id2label). ``LABEL_0``, ``LABEL_1`` … are numbers and not names: they are the
        classes ``0``, ``1`` … of a task whose labels are these numbers. One output is the logit of the class that it
        names, or of the positive class if it has no name; position 1 then is its class, and 0 the other.
    source
        The file or object that names the outputs, for messages.

    Raises
    ------
    UserError
        Outputs and classes do not have the same names.
    """
    classes = task.classes
    if len(names) == 1:
        return _one_logit(names[0], task, source)
    if all(_UNNAMED.fullmatch(name) for name in names):
        numbers = [_resolved(str(i), classes) for i in range(len(names))]
        if len(names) == len(classes) and None not in numbers:
            return tuple(numbers.index(name) for name in classes)
        raise UserError(
            f"{source} does not name its outputs ({listed(names, 6)}), so which of them is {_either(classes)} is unknown; "
            f"write the names into id2label in the order of the outputs, such as {_example(classes)}."
        )
    resolved = [_resolved(name, classes) for name in names]
    unknown = [name for name, match in zip(names, resolved, strict=True) if match is None]
    missing = [name for name in classes if name not in resolved]
    if len(names) > len(classes):
        raise UserError(
            f"{source} has {len(names)} outputs ({listed(names, 6)}; id2label), and {task.target!r} has {len(classes)} "
            f"classes ({listed(classes, 6)}); give data whose labels are those that the model was trained on."
        )
    if unknown or missing:
        parts = ([f"{listed(unknown, 6)} is not a class of {task.target!r}"] if unknown else []) + (
            [f"no output is named {listed(missing, 6)}"] if missing else []
        )
        raise UserError(
            f"the outputs of {source} are named {listed(names, 6)} (id2label), and the classes of {task.target!r} are "
            f"{listed(classes, 6)}: {'; '.join(parts)}. Write the classes into id2label in the order of the outputs, "
            f"such as {_example(classes)}, or spell the labels of the data as the model does."
        )
    if len(set(resolved)) < len(resolved):
        raise UserError(f"two outputs of {source} have the same name ({listed(names, 6)}); correct id2label.")
    return tuple(resolved.index(name) for name in classes)


def _one_logit(name: str, task: Task, source: str) -> tuple[int, ...]:
    if len(task.classes) != 2:
        raise UserError(
            f"{source} has one output, which decides between two classes; {task.target!r} has {len(task.classes)}."
        )
    named = task.positive if _UNNAMED.fullmatch(name) else _resolved(name, task.classes)
    if named is None:
        raise UserError(
            f"{source} has one output, {name}, which is not a class of {task.target!r} ({listed(task.classes)}); name the "
            f'class that it is the logit of in id2label, such as {{"0": {json.dumps(task.classes[1])}}}.'
        )
    return (0, 1) if task.classes.index(named) == 1 else (1, 0)


def _resolved(name: str, classes: Sequence[str]) -> str | None:
    """Return the class with this name, in any case; None if there is none, or more than one."""
    resolved = resolve(name, classes)
    if resolved in classes:
        return resolved
    alike = [c for c in classes if c.strip().casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def _either(classes: Sequence[str]) -> str:
    return " or ".join(classes[:3]) + (" …" if len(classes) > 3 else "")


def _example(classes: Sequence[str]) -> str:
    return json.dumps({str(i): name for i, name in enumerate(classes[:4])}, ensure_ascii=False)
