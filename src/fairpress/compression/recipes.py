"""Recipes as text: ``prune-80+int8``, ``int4(ranges=auto)``, ``placebo(prune-80)``. No torch.

Recipes are normalized: `str` gives the shortest text that parses to the same steps, so that equal steps have equal names.
The placebos of ``prune-50`` and ``qat-int8`` are the same training, and both are called ``placebo``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fairpress.compression.step import Step
from fairpress.compression.steps.checkpoint import EarlierCheckpoint
from fairpress.compression.steps.distill import Distill
from fairpress.compression.steps.dynamic import QuantizeDynamic
from fairpress.compression.steps.equalize import Equalize
from fairpress.compression.steps.finetune import FineTune
from fairpress.compression.steps.kmeans import Cluster
from fairpress.compression.steps.mixed import Mixed
from fairpress.compression.steps.prune import Prune
from fairpress.compression.steps.prune_channels import PruneChannels
from fairpress.compression.steps.prune_heads import PruneHeads
from fairpress.compression.steps.prune_neurons import PruneNeurons
from fairpress.compression.steps.quantize import Quantize
from fairpress.compression.steps.quantize_blocks import QuantizeBlocks
from fairpress.compression.steps.train_quantized import TrainQuantized
from fairpress.compression.steps.trim_vocabulary import TrimVocabulary
from fairpress.core.config import parse as validate
from fairpress.core.errors import UserError, did_you_mean


@dataclass(frozen=True)
class _StepName:
    """The step that a name means; ``{n}`` in the name is a number, which sets `field` in units of `unit`."""

    kind: type[Step]
    fixed: Mapping[str, Any]
    field: str = ""
    unit: float = 1.0


def _quantization_names() -> dict[str, _StepName]:
    recipe_names = {}
    for bits in (8, 4, 3, 2):
        for suffix, options in (("", {}), ("-fp32-head", {"keep_head": True})):
            recipe_names[f"int{bits}{suffix}"] = _StepName(Quantize, {"weight_bits": bits, **options})
            recipe_names[f"qat-int{bits}{suffix}"] = _StepName(
                TrainQuantized, {"weight_bits": bits, **options}
            )
        recipe_names[f"w{bits}"] = _StepName(Quantize, {"weight_bits": bits, "activation_bits": 32})
    return recipe_names


# Name → step; `_shortest_text` chooses among several that fit.
_NAMES: dict[str, _StepName] = {
    **_quantization_names(),
    "int8-dynamic": _StepName(QuantizeDynamic, {}),
    "mixed": _StepName(Mixed, {}),
    "kmeans-{n}": _StepName(Cluster, {}, "clusters"),
    "prune-{n}": _StepName(Prune, {}, "sparsity", 0.01),
    "prune-neurons-{n}": _StepName(PruneNeurons, {}, "share", 0.01),
    "prune-channels-{n}": _StepName(PruneChannels, {}, "share", 0.01),
    "prune-heads-{n}": _StepName(PruneHeads, {}, "share", 0.01),
    "trim-vocabulary-{n}": _StepName(TrimVocabulary, {}, "share", 0.01),
    "checkpoint-{n}": _StepName(EarlierCheckpoint, {}, "epochs"),
    "finetune": _StepName(FineTune, {}),
    "distill": _StepName(Distill, {}),
    "equalize": _StepName(Equalize, {}),
}
# The same names with the option `block`.
_IN_BLOCKS: dict[str, _StepName] = {
    f"w{bits}": _StepName(QuantizeBlocks, {"weight_bits": bits}) for bits in (8, 4)
}
# Options of the kind of step are written before those of its amount.
_OPTION_ORDER = (
    *("block", "towards", "start", "rounding", "moments", "method", "constraint", "calibration", "error"),
    *("importance", "preserve", "channels"),
    *("budget", "protect", "into", "widths", "temperature", "by"),
)
_EXAMPLES = (
    *("fp32", "placebo", "placebo(prune-80)", "prune-80", "prune-80(scope=global)", "prune-80+int8"),
    *(
        "checkpoint-1",
        "kmeans-16",
        "prune-neurons-50",
        "prune-channels-50",
        "prune-heads-50",
        "trim-vocabulary-50",
    ),
    *(n for n in _NAMES if "{n}" not in n),
)


MAX_CHARACTERS = 4_000


@dataclass(frozen=True)
class Recipe:
    """Steps that compose from left to right; a recipe without steps is ``fp32``, the baseline."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        if not self.steps:
            return "fp32"
        text = "+".join(map(_shortest_text, self.steps))
        # Fine-tuning without compression is a placebo.
        only_finetunes = all(type(s) is FineTune and (s.method is None or s.hold) for s in self.steps)
        return text.replace("finetune", "placebo") if only_finetunes else text

    def to_dict(self) -> list[dict[str, Any]]:
        """Return every step with all its parameters, defaults included."""
        return [{"step": type(s).__name__, **s.model_dump(mode="json")} for s in self.steps]

    def after(self, available: Collection[str]) -> tuple[str, Recipe]:
        """Return the longest recipe in `available` that this one extends (at least ``fp32``), and the remaining steps.

        Steps that read the baseline go on from it alone.
        """
        for length in range(len(self.steps) - 1, -1, -1):
            prefix = str(Recipe(self.steps[:length]))
            if length and any(step.reads_baseline for step in self.steps[length:]):
                continue
            if prefix in available:
                return prefix, Recipe(self.steps[length:])
        raise ValueError(f"no available recipe is a prefix of {self}")

    def plain(self) -> Recipe | None:
        """Return the recipe without its fairness-aware options; None if it has none."""
        steps = tuple(step.plain() for step in self.steps)
        return Recipe(steps) if steps != self.steps else None

    def compensated(self) -> Recipe | None:
        """Return the recipe with ``rounding=gptq`` where it rounds weights below 8 bits to nearest; None if it does not."""
        steps = tuple(step.compensated() for step in self.steps)
        return Recipe(steps) if steps != self.steps else None

    def placebo(self) -> Recipe | None:
        """Return the same fine-tuning without compression; None for a recipe without, or with nothing but, fine-tuning."""
        steps = tuple(step.placebo() for step in self.steps if step.trains)
        return Recipe(steps) if steps and steps != self.steps else None


def parse(text: str) -> Recipe:
    """Parse a recipe. Raises UserError, with suggestions, for invalid text."""
    if len(text) > MAX_CHARACTERS:
        raise UserError(
            f"the recipe {text[:40]!r}… has more than {MAX_CHARACTERS:,} characters; write a shorter one."
        )
    text = re.sub(r"\s+", "", text)
    if text == "fp32":
        return Recipe(())
    inner = re.fullmatch(r"placebo\((.+)\)", text)
    if inner and _split(text, "+") == [text] and not re.fullmatch(r"\w+=.*", inner[1]):
        placebo = parse(inner[1]).placebo()
        if placebo is None:
            raise UserError(f"{inner[1]!r} does not fine-tune, so it has no placebo; compare it with fp32.")
        return placebo
    steps = tuple(_step(part, text) for part in _split(text, "+"))
    for i, step in enumerate(steps):
        if step.final and step is not steps[-1]:
            raise UserError(f"recipe {text!r}: no step can follow quantization; quantize last.")
        if step.reads_baseline and any(earlier.changes_inputs for earlier in steps[:i]):
            raise UserError(
                f"recipe {text!r}: towards= needs the baseline's predictions for what the network reads, and "
                "trim-vocabulary changes that; leave out towards."
            )
        if step.first and i > 0:
            raise UserError(f"recipe {text!r}: a checkpoint belongs to the baseline; write it first.")
    return Recipe(steps)


def _split(text: str, mark: str) -> list[str]:
    """Split at a mark outside of parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == mark and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _step(text: str, recipe: str) -> Step:
    match = re.fullmatch(r"([A-Za-z0-9_-]+)(?:\((.*)\))?", text)
    if not match:
        raise UserError(f"recipe {recipe!r}: {text!r} is not a step." + did_you_mean(text, _EXAMPLES))
    name, number = match[1], ""
    if name == "placebo":
        name = "finetune"
    if f"{name}-{{n}}" in _NAMES:
        name = f"{name}-{{n}}"
    elif name not in _NAMES and (numbered := re.fullmatch(r"(.*-)(\d{1,3})", name)):
        name, number = numbered[1] + "{n}", numbered[2]
    if name not in _NAMES:
        paper_style = re.fullmatch(r"(qat-)?w([2348])a(\d+)", match[1])
        if paper_style:  # notation of bit widths in papers
            name = f"{paper_style[1] or ''}int{paper_style[2]}"
            return _validated(name, {**_NAMES[name].fixed, "activation_bits": paper_style[3]}, recipe)
        raise UserError(f"there is no recipe {match[1]!r}." + did_you_mean(match[1], _EXAMPLES))
    recipe_name = _NAMES[name]
    options: dict[str, Any] = dict(recipe_name.fixed)
    if number:
        options[recipe_name.field] = int(number) * recipe_name.unit
    for pair in filter(None, (match[2] or "").split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"recipe {recipe!r}: write {match[1]}(key=value), not ({pair}).")
        options[key] = value
    return _validated(name, options, recipe)


def _validated(name: str, options: Mapping[str, Any], recipe: str) -> Step:
    in_blocks = "block" in options and name in _IN_BLOCKS
    kind = (_IN_BLOCKS if in_blocks else _NAMES)[name].kind
    if in_blocks:
        options = {k: v for k, v in options.items() if k != "activation_bits"}
    return validate(kind, dict(options), f"recipe {recipe!r}")


def _shortest_text(step: Step) -> str:
    """Return the shortest text that parses to this step: a name, and the options that differ from its defaults."""
    parameters = step.model_dump()
    defaults = {k: f.default for k, f in type(step).model_fields.items() if not f.is_required()}
    texts = []
    for name, recipe_name in (*_NAMES.items(), *_IN_BLOCKS.items()):
        if recipe_name.kind is not type(step):
            continue
        implied = {**defaults, **recipe_name.fixed}
        if recipe_name.field:
            number = round(parameters[recipe_name.field] / recipe_name.unit, 6)
            if not number.is_integer():
                name = name.removesuffix("-{n}")
            else:
                name, implied = (
                    name.replace("{n}", f"{number:.0f}"),
                    {**implied, recipe_name.field: parameters[recipe_name.field]},
                )
        if any(parameters[k] != v for k, v in recipe_name.fixed.items()):
            continue
        differ = {k: v for k, v in parameters.items() if k not in implied or implied[k] != v}
        if "weights" in differ and differ["weights"] == differ.get("activations"):
            differ["ranges"] = differ.pop("weights")
            del differ["activations"]
        order = sorted(
            differ, key=lambda k: _OPTION_ORDER.index(k) if k in _OPTION_ORDER else len(_OPTION_ORDER)
        )
        options = [f"{k}={_format_option(differ[k])}" for k in order]
        texts.append(name + (f"({','.join(options)})" if options else ""))
    return min(texts, key=len)


def _format_option(value: Any) -> str:
    """Return an option's value in the form that `parse` reads."""
    if isinstance(value, tuple):
        return "|".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
