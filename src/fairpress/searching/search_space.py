"""What is tried: cheap candidates in a fixed order, dear ones where they can still win, and what a sampler may combine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

WIDTHS = (8, 4, 2)
# Hidden layers of smaller networks for tables; one for images takes long to teach.
STUDENTS = ("64|64", "32|32")


@dataclass(frozen=True)
class PlannedCandidate:
    """A recipe to try. Its file has about `share` of the bytes of a cheap recipe's, `like`; None where nobody knows."""

    recipe: str
    like: str | None = None
    share: float = 1.0


def cheap_recipes(bits: int | None, by: Sequence[str]) -> list[PlannedCandidate]:
    """Return what takes no training: widths, ways to find ranges, calibration by groups.

    Parameters
    ----------
    bits
        8, 4 or 2: files of that width only; None: all.
    by
        Sensitive attributes; the first balances calibration rows.
    """
    widths = WIDTHS if bits is None else (bits,)
    ways = ["int{}", "w{}", "int{}(ranges=auto)", f"int{{}}(calibration=balanced,by={by[0]})"]
    if bits is not None:
        ways += ["int{}(ranges=minmax)", "w{}(ranges=minmax)", "int{}-fp32-head"]
    found = [
        PlannedCandidate(way.format(width), f"int{width}" if "(" in way else None)
        for way in ways
        for width in widths
    ]
    return [*found, PlannedCandidate("kmeans-16")] if bits is None else found


def mixed_recipes(
    sizes: Mapping[int, int], below: int, by: Sequence[str], images: bool = False
) -> list[PlannedCandidate]:
    """Return what lies between two neighbouring widths, below a size: a tenth of the channels in 8 bits, bits by layer.

    `sizes` is width → bytes of the uniform file. Layers of networks for images are measured on fewer rows.
    """
    found, rows = [], ",rows=128" if images else ""
    for wide, narrow in pairwise(WIDTHS):
        if wide in sizes and narrow in sizes:
            if sizes[narrow] + 0.1 * (sizes[8] - sizes[narrow]) < below:
                found.append(PlannedCandidate(f"int{narrow}(preserve=0.1,by={by[0]})"))
            for share in (0.75, 0.5, 0.25):
                budget = round(sizes[narrow] + share * (sizes[wide] - sizes[narrow]))
                if sizes[narrow] < budget < below:
                    found.append(PlannedCandidate(f"mixed(budget={budget}{rows})"))
    return found


def expensive_recipes(
    bits: int | None, by: Sequence[str], images: bool, students: bool = False
) -> list[PlannedCandidate]:
    """Return what trains: quantization-aware training with and without a constraint, fewer channels, smaller networks.

    Four bits come first: where they are safe 8 are not needed, and where they are not 2 hardly are. Networks for images
    train on for one epoch, which takes minutes. Smaller networks (`students`) answer anew, so that many answers change.
    """
    found, epochs = [], "epochs=1" if images else ""
    for width in (4, 2, 8) if bits is None else (bits,):
        like = f"int{width}"
        bounded = ",".join(filter(None, ("method=ceag", f"by={by[0]}", epochs)))
        found += [
            PlannedCandidate(f"qat-int{width}" + (f"({epochs})" if epochs else ""), like),
            PlannedCandidate(f"qat-int{width}({bounded})", like),
        ]
    if bits is None and images:
        # A convolution loses channels on both its sides.
        found += [
            PlannedCandidate(
                f"prune-channels-{gone}({epochs})+int{width}", f"int{width}", (1 - gone / 100) ** 2
            )
            for width in (8, 4)
            for gone in (25, 50)
        ]
    if bits is None and students and not images:
        found += [
            PlannedCandidate(f"distill(widths={widths})+int{width}")
            for widths in STUDENTS
            for width in (8, 4)
        ]
    return found


class OptunaTrial(Protocol):
    """What a sampler of optuna offers."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_float(self, name: str, low: float, high: float) -> float: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...


def sampled_recipe(
    trial: OptunaTrial,
    by: Sequence[str],
    sizes: Mapping[int, int],
    images: bool,
    train: bool,
    students: bool = False,
) -> str:
    """Return the recipe that a sampler combines."""
    widths = ["8", "4", "2", *(["mixed"] if {8, 2} <= set(sizes) else [])]
    width = trial.suggest_categorical("width", widths)
    ranges = trial.suggest_categorical("ranges", ["mse", "minmax", "percentile", "auto"])
    how = trial.suggest_categorical("calibration", ["first", "random", "balanced", "balanced-label"])
    options = [] if ranges == "mse" else [f"ranges={ranges}"]
    if how != "first":
        options.append(f"calibration={how}")
        options.append(f"draw={trial.suggest_int('draw', 0, 4)}")
    grouped = how.startswith("balanced")
    if width == "mixed":
        share = trial.suggest_float("share", 0.02, 0.9)
        name = "mixed"
        options.insert(0, f"budget={round(sizes[2] + share * (sizes[8] - sizes[2]))}")
        if images:
            options.append("rows=128")
        if trial.suggest_categorical("protect", [False, True]):
            options.append(f"protect={by[0]}")
    else:
        weights_only = trial.suggest_categorical("activations", [8, 32]) == 32
        training = trial.suggest_categorical("training", ["none", "qat", "ceag"]) if train else "none"
        name = f"w{width}" if weights_only and training == "none" else f"int{width}"
        if training != "none":
            name = f"qat-int{width}"
            if images:
                options.append("epochs=1")
            if training == "ceag":
                options.append("method=ceag")
                grouped = True
        if width != "8" and (kept := trial.suggest_categorical("preserve", [0.0, 0.05, 0.1, 0.2])):
            options.append(f"preserve={kept}")
            grouped = True
    if grouped:
        options.append(f"by={trial.suggest_categorical('by', list(by))}")
    before = ""
    student = train and students and not images
    if student and (widths := trial.suggest_categorical("student", ["", *STUDENTS])):
        temperature = trial.suggest_categorical("temperature", [1, 2, 4, 8])
        before = f"distill(widths={widths},temperature={temperature})+"
    if images and train and (share := trial.suggest_categorical("channels", [0, 25, 50])):
        before = f"prune-channels-{share}(epochs=1)+"
    return before + name + (f"({','.join(options)})" if options else "")
