"""The search space: cheap recipes in a fixed order, expensive ones, and the choices that a sampler combines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from fairpress.datasets.dataset import Kind

BIT_WIDTHS = (8, 4, 3, 2)
# Layers that lose most at 2 bits, and hold few weights. Of texts the first is the embedding table, which holds most of them:
# more than 4 bits for it gain nothing.
ENDS: Mapping[Kind, str] = {
    "table": "bits=first:8|last:8",
    "images": "bits=first:8|last:8",
    "text": "bits=first:4|last:8",
}
# Smaller networks for tables and for texts; distilling a network for images takes too long.
STUDENTS: Mapping[Kind, tuple[str, ...]] = {
    "table": ("widths=64|64", "widths=32|32"),
    "images": (),
    "text": ("layers=1,epochs=4",),
}


# The step that removes whole units, which most networks of the kind have.
UNITS: Mapping[Kind, str] = {"table": "prune-neurons", "images": "prune-channels", "text": "prune-heads"}


@dataclass(frozen=True)
class PlannedCandidate:
    """A recipe to try. Its file has about `share` times the size of the cheap recipe `like`; None if unknown."""

    recipe: str
    like: str | None = None
    share: float = 1.0


def cheap_recipes(bits: int | None, by: Sequence[str], kind: Kind = "table") -> list[PlannedCandidate]:
    """Return recipes without training: bit widths, rounding, methods to choose ranges, calibration by groups.

    At 8 bits nearest rounding is hardly an error, so only fewer bits are also rounded with error compensation. Models of
    texts also lose pieces of their vocabulary, whose embeddings are most of a small one.

    Parameters
    ----------
    bits
        8, 4, 3 or 2: only files of that bit width; None: all.
    by
        Sensitive attributes; calibration rows are balanced by the first.
    """
    widths = BIT_WIDTHS if bits is None else (bits,)
    templates = ["int{}", "w{}", "int{}(ranges=auto)", f"int{{}}(calibration=balanced,by={by[0]})"]
    if bits is not None:
        templates += ["int{}(ranges=minmax)", "w{}(ranges=minmax)", "int{}-fp32-head"]
    planned = [
        PlannedCandidate(template.format(width), f"int{width}" if "(" in template else None)
        for template in templates
        for width in widths
    ]
    for width in widths:
        for name in (f"int{width}", f"w{width}") if width < 8 else ():
            planned.append(PlannedCandidate(f"{name}(rounding=gptq)", name))
            if width == 2:
                like = None if kind == "text" else name
                planned.append(PlannedCandidate(f"{name}(rounding=gptq,{ENDS[kind]})", like, 1.02))
    if bits is None and kind == "text":
        planned += [
            PlannedCandidate(f"trim-vocabulary-{percent}(by={by[0]})+w{width}", f"w{width}")
            for width in (8, 4)
            for percent in (25, 50)
        ]
    return [*planned, PlannedCandidate("kmeans-16")] if bits is None else planned


def mixed_recipes(
    sizes: Mapping[int, int], max_bytes: int, by: Sequence[str], kind: Kind = "table"
) -> list[PlannedCandidate]:
    """Return recipes between two neighbouring bit widths, below a size: some channels in 8 bits, or mixed precision.

    `sizes` is bit width → bytes of the uniform file. The sensitivity of layers is measured on fewer rows for images. Below
    4 bits all are rounded with error compensation.
    """
    planned, rows = [], ",rows=128" if kind == "images" else ""
    for wide, narrow in pairwise(width for width in BIT_WIDTHS if width in sizes):
        rounding = "" if wide == 8 else "rounding=gptq,"
        if sizes[narrow] + 0.1 * (sizes[8] - sizes[narrow]) < max_bytes:
            planned.append(PlannedCandidate(f"int{narrow}({rounding}preserve=0.1,by={by[0]})"))
        for share in (0.75, 0.5, 0.25):
            budget = round(sizes[narrow] + share * (sizes[wide] - sizes[narrow]))
            if sizes[narrow] < budget < max_bytes:
                planned.append(PlannedCandidate(f"mixed({rounding}budget={budget}{rows})"))
    return planned


def expensive_recipes(
    bits: int | None, by: Sequence[str], kind: Kind, students: bool = False
) -> list[PlannedCandidate]:
    """Return recipes that train: quantization-aware training (constrained or not), fewer units, smaller networks.

    Four bits come first: if they are safe, 8 are not needed; if not, 2 hardly are. Networks for images and texts are
    fine-tuned for one epoch, which takes minutes. Smaller networks (`students`) change many predictions.
    """
    planned, epochs = [], "" if kind == "table" else "epochs=1"
    for width in (4, 2, 8) if bits is None else (bits,):
        reference = f"int{width}"
        bounded = ",".join(filter(None, ("method=ceag", f"by={by[0]}", epochs)))
        planned += [
            PlannedCandidate(f"qat-int{width}" + (f"({epochs})" if epochs else ""), reference),
            PlannedCandidate(f"qat-int{width}({bounded})", reference),
        ]
    if bits is None:
        # A layer loses both inputs and outputs; how much heads are of a network is unknown here.
        step, options = UNITS[kind], f"({epochs})" if epochs else ""
        planned += [
            PlannedCandidate(
                f"{step}-{percent}{options}+int{width}",
                None if kind == "text" else f"int{width}",
                (1 - percent / 100) ** 2,
            )
            for width in (8, 4)
            for percent in (25, 50)
        ]
    if bits is None and students:
        planned += [
            PlannedCandidate(f"distill({student})+int{width}")
            for student in STUDENTS[kind]
            for width in (8, 4)
        ]
    return planned


class OptunaTrial(Protocol):
    """The interface of an optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float) -> float: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...


def sampled_recipe(
    trial: OptunaTrial,
    by: Sequence[str],
    sizes: Mapping[int, int],
    kind: Kind,
    train: bool,
    students: bool = False,
) -> str:
    """Return a recipe combined from the choices of a sampler."""
    widths = ["8", "4", "3", "2", *(["mixed"] if {8, 2} <= set(sizes) else [])]
    width = trial.suggest_categorical("width", widths)
    ranges = trial.suggest_categorical("ranges", ["mse", "minmax", "percentile", "auto"])
    draw = trial.suggest_categorical("calibration", ["first", "random", "balanced", "balanced-label"])
    options = [] if ranges == "mse" else [f"ranges={ranges}"]
    if draw != "first":
        options.append(f"calibration={draw}")
        options.append(f"draw={trial.suggest_int('draw', 0, 4)}")
    grouped = draw.startswith("balanced")
    if width == "mixed":
        share = trial.suggest_float("share", 0.02, 0.9)
        name = "mixed"
        options.insert(0, f"budget={round(sizes[2] + share * (sizes[8] - sizes[2]))}")
        if kind == "images":
            options.append("rows=128")
        if trial.suggest_categorical("rounding", [False, True]):
            options.append("rounding=gptq")
        if trial.suggest_categorical("protect", [False, True]):
            options.append(f"protect={by[0]}")
    else:
        weights_only = trial.suggest_categorical("activations", [8, 32]) == 32
        training = trial.suggest_categorical("training", ["none", "qat", "ceag"]) if train else "none"
        name = f"w{width}" if weights_only and training == "none" else f"int{width}"
        if training != "none":
            name = f"qat-int{width}"
            if kind != "table":
                options.append("epochs=1")
            if training == "ceag":
                options.append("method=ceag")
                grouped = True
        if width != "8" and (preserved := trial.suggest_categorical("preserve", [0.0, 0.05, 0.1, 0.2])):
            options.append(f"preserve={preserved}")
            grouped = True
        if width != "8" and training == "none" and trial.suggest_categorical("rounding", [False, True]):
            options.append("rounding=gptq")
        if width == "2" and trial.suggest_categorical("ends", [False, True]):
            options.append(ENDS[kind])
    if grouped:
        options.append(f"by={trial.suggest_categorical('by', list(by))}")
    prefix = ""
    smaller = STUDENTS[kind] if train and students else ()
    if smaller and (student := trial.suggest_categorical("student", ["", *smaller])):
        temperature = trial.suggest_categorical("temperature", [1, 2, 4, 8])
        prefix = f"distill({student},temperature={temperature})+"
    if (
        kind == "table"
        and train
        and not prefix
        and (share := trial.suggest_categorical("neurons", [0, 25, 50]))
    ):
        prefix = f"prune-neurons-{share}+"
    if kind == "images" and train and (share := trial.suggest_categorical("channels", [0, 25, 50])):
        prefix = f"prune-channels-{share}(epochs=1)+"
    if kind == "text":
        if train and not prefix and (share := trial.suggest_categorical("heads", [0, 25, 50])):
            prefix = f"prune-heads-{share}(epochs=1)+"
        if share := trial.suggest_categorical("vocabulary", [0, 25, 50]):
            prefix = f"trim-vocabulary-{share}(by={by[0]})+{prefix}"
    return prefix + name + (f"({','.join(options)})" if options else "")
