"""A recipe as people write it: ``prune-80+int8``, ``int4(ranges=minmax)``, ``placebo(prune-80)``. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fairpress.compression.step import Step
from fairpress.compression.steps.finetune import FineTune
from fairpress.compression.steps.prune import Prune
from fairpress.compression.steps.quantize import Quantize
from fairpress.core.config import parse as validate
from fairpress.core.errors import UserError, did_you_mean

# Name → config class and the parameters the name stands for; {n} names take a number: prune-80.
_NAMED: dict[str, tuple[type[Step], Callable[[int], dict[str, Any]]]] = {
    "int8": (Quantize, lambda _: {"weight_bits": 8}),
    "int4": (Quantize, lambda _: {"weight_bits": 4}),
    "prune-{n}": (Prune, lambda n: {"sparsity": n / 100}),
    "finetune": (FineTune, lambda _: {}),
}
_EXAMPLES = ("fp32", "int8", "int4", "prune-80", "prune-80+int8", "placebo(prune-80)", "finetune")


@dataclass(frozen=True)
class Recipe:
    """Steps that compose left to right; no step is ``fp32``, the baseline itself."""

    text: str
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> list[dict[str, Any]]:
        """Return every step with all its parameters, defaults included."""
        return [{"step": type(s).__name__, **s.model_dump(mode="json")} for s in self.steps]

    def placebo(self) -> Recipe | None:
        """Return the same training without compression; None for a recipe that does not train."""
        steps = tuple(step.placebo() for step in self.steps if step.trains and type(step) is not FineTune)
        return Recipe(f"placebo({self.text})", steps) if steps else None


def parse(text: str) -> Recipe:
    """Read a recipe. Raises UserError with what was probably meant for anything that is none."""
    text = re.sub(r"\s+", "", text)
    if text == "fp32":
        return Recipe(text, ())
    inner = re.fullmatch(r"placebo\((.+)\)", text)
    if inner:
        placebo = parse(inner[1]).placebo()
        if placebo is None:
            raise UserError(f"{inner[1]!r} does not train, so there is no placebo for it.")
        return placebo
    steps = tuple(_step(part, text) for part in re.split(r"\+(?![^(]*\))", text))
    for step in steps[:-1]:
        if step.final:
            raise UserError(f"recipe {text!r}: nothing can follow after quantization; quantize last.")
    return Recipe(text, steps)


def _step(text: str, recipe: str) -> Step:
    match = re.fullmatch(r"([A-Za-z0-9_-]+)(?:\((.*)\))?", text)
    if not match:
        raise UserError(f"recipe {recipe!r}: {text!r} is no step." + did_you_mean(text, _EXAMPLES))
    name, number = match[1], 0
    if name not in _NAMED and (numbered := re.fullmatch(r"(.*-)(\d{1,2})", name)):
        name, number = numbered[1] + "{n}", int(numbered[2])
    if name not in _NAMED:
        raise UserError(f"there is no recipe {match[1]!r}." + did_you_mean(match[1], _EXAMPLES))
    kind, parameters = _NAMED[name]
    options: dict[str, Any] = parameters(number)
    for pair in filter(None, (match[2] or "").split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"recipe {recipe!r}: write {match[1]}(key=value), not ({pair}).")
        options[key] = value
    return validate(kind, options, f"recipe {recipe!r}")
