"""How often each class occurs among the rows of each group and part, and groups with too few rows of a class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairpress.datasets.checks.warning import DatasetWarning
from fairpress.datasets.dataset import PARTS, Dataset, Part

ALL_ROWS = "everybody"
MIN_TRAINING_ROWS = 10  # rows of a class that a group needs in training, at the very least


def class_rates(data: Dataset) -> Iterator[tuple[str, str, dict[Part, tuple[int, int]]]]:
    """Yield attribute, group and, for each part, rows and rows of the positive class; all rows first."""
    positive = _positive(data)
    parts = {part: data.parts[part] for part in PARTS if part in data.parts}
    yield "", ALL_ROWS, {p: (len(rows), int(positive[rows].sum())) for p, rows in parts.items()}
    for name, groups in data.attributes.items():
        for group in np.unique(groups).tolist():
            group_parts = {p: rows[groups[rows] == group] for p, rows in parts.items()}
            yield name, group, {p: (len(rows), int(positive[rows].sum())) for p, rows in group_parts.items()}


def rates_table(data: Dataset, max_groups: int = 12) -> list[str]:
    """Return the base rates as lines of text, of the `most` largest groups of each attribute."""
    if data.task.positive is None:
        title = f"share of {data.task.classes[_commonest(data)]!r}, the commonest class (rows)"
    else:
        title = f"share of {data.task.positive!r} (rows)"
    lines, left_out = [["", *(part for part in PARTS if part in data.parts)]], 0
    shown: dict[str, int] = {}
    ordered = sorted(class_rates(data), key=lambda r: -sum(n for n, _ in r[2].values()))
    names = ["", *data.attributes]
    for name, group, counts in sorted(ordered, key=lambda r: names.index(r[0])):
        shown[name] = shown.get(name, 0) + 1
        if shown[name] > max_groups:
            left_out += 1
            continue
        cells = [f"{k / n:.3f} ({n:,})" if n else "- (0)" for n, k in counts.values()]
        lines.append([f"{name}: {group}" if name else group, *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return [title, *text, *([f"and {left_out} smaller groups"] if left_out else [])]


def groups_short_of_a_class(data: Dataset, floor: int) -> Iterator[DatasetWarning]:
    """Yield groups with enough test rows and too few of one class, and parts in which one is absent."""
    if data.task.positive is None:
        return
    positive = data.task.positive
    others = [c for c in data.task.classes if c != positive]
    negative = others[0] if len(others) == 1 else f"not {positive}"
    training_floor = min(MIN_TRAINING_ROWS, floor)
    for name in ("", *data.attributes):
        short, absent_classes, untrained = [], [], []
        for attribute, group, counts in class_rates(data):
            if attribute != name:
                continue
            for part, (n, k) in counts.items():
                few = [f"{c:,} of {kind!r}" for c, kind in ((k, positive), (n - k, negative)) if c < floor]
                absent = [kind for c, kind in ((k, positive), (n - k, negative)) if not c]
                if part == "test" and n >= floor and few and not absent:
                    short.append(f"{group} ({', '.join(few)})")
                elif absent and n >= (floor if part == "test" else training_floor):
                    absent_classes.append(f"{group} has none of {absent[0]!r} among {n:,} {part} rows")
                elif part == "train" and n >= training_floor > min(k, n - k):
                    untrained.append(f"{group} ({min(k, n - k)} of {positive if k < n - k else negative!r})")
        by = f"by {name!r}, " if name else ""
        if absent_classes:
            rate = "TPR or FPR cannot be measured, or the class not be learned, there"
            yield DatasetWarning(
                "one_class_groups",
                name,
                len(absent_classes),
                f"{by}{_abbreviate(absent_classes)}: {rate}. Use folds, or gather rows.",
            )
        if short:
            yield DatasetWarning(
                "few_of_a_class",
                name,
                len(short),
                f"{by}these have fewer than {floor} test rows of a class, which a verdict on TPR or FPR needs at a "
                "margin of "
                f"two points: {_abbreviate(short)}. Use folds, a larger `test_share`, or gather rows.",
            )
        if untrained:
            yield DatasetWarning(
                "few_of_a_class_in_training",
                name,
                len(untrained),
                f"{by}these have fewer than {training_floor} training rows of a class: {_abbreviate(untrained)}. A "
                f"network can "
                "hardly learn them; "
                "gather rows.",
            )


def _abbreviate(names: list[str], max_names: int = 6) -> str:
    return ", ".join(names[:max_names]) + (
        f" and {len(names) - max_names} more" if len(names) > max_names else ""
    )


def _positive(data: Dataset) -> np.ndarray:
    name = data.task.positive
    class_index = _commonest(data) if name is None else data.task.classes.index(name)
    is_positive: np.ndarray = data.labels == class_index
    return is_positive


def _commonest(data: Dataset) -> int:
    return int(np.bincount(data.labels).argmax())
