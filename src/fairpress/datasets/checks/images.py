"""Properties of images that would make an audit misleading: copies, blank images, brightness that predicts the label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fairpress.datasets.checks.warning import GIVEAWAY_ACCURACY, DatasetWarning, single_feature_accuracy
from fairpress.datasets.dataset import Dataset


@dataclass(frozen=True)
class _ImageStatistics:
    """Of each image [images]: a number that equal pixels share, the mean pixel, and whether all pixels are equal."""

    same: np.ndarray
    brightness: np.ndarray
    blank: np.ndarray


def check_images(data: Dataset) -> Iterator[DatasetWarning]:
    """Yield the warnings that need the pixels, each image read once."""
    statistics = _image_statistics(data.inputs)
    yield from _brightness(data, statistics)
    yield from _copies(data, statistics)
    yield from _people(data, statistics)
    if count := int(statistics.blank.sum()):
        yield DatasetWarning(
            "blank",
            "",
            count,
            f"{count:,} images are of one color, such as {data.row_ids[statistics.blank.argmax()]}; nothing can be "
            f"seen in them.",
        )


def _image_statistics(images: np.ndarray) -> _ImageStatistics:
    digests, brightness, blank = [], np.empty(len(images)), np.empty(len(images), dtype=bool)
    for i, image in enumerate(images):
        pixels = np.ascontiguousarray(image)
        digests.append(hashlib.blake2b(pixels.tobytes(), digest_size=16).digest())
        colours = pixels.reshape(len(pixels), -1)
        brightness[i] = colours.mean()
        blank[i] = bool((colours == colours[:, :1]).all())
    _, same = np.unique(np.array(digests), return_inverse=True)
    return _ImageStatistics(same.reshape(-1), brightness, blank)


def _brightness(data: Dataset, statistics: _ImageStatistics) -> Iterator[DatasetWarning]:
    """The mean pixel alone predicts the label: the classes come from different cameras or archives."""
    train, test = data.parts["train"], data.parts["test"]
    commonest = float(np.bincount(data.labels[test]).max() / len(test))
    right = single_feature_accuracy(
        statistics.brightness[train], data.labels[train], statistics.brightness[test], data.labels[test]
    )
    if right >= GIVEAWAY_ACCURACY and right > (1 + commonest) / 2:
        yield DatasetWarning(
            "gives_away",
            "brightness",
            right,
            f"the brightness of an image alone predicts the label of {right:.1%} of the test rows: if the classes "
            "were photographed or processed differently, that is what a network learns.",
        )


def _copies(data: Dataset, statistics: _ImageStatistics) -> Iterator[DatasetWarning]:
    _, first, counts = np.unique(statistics.same, return_index=True, return_counts=True)
    duplicates = len(data) - len(first)
    if not duplicates:
        return
    test = data.parts["test"]
    rest = np.setdiff1d(np.arange(len(data)), test)
    across = int(np.isin(statistics.same[test], statistics.same[rest]).sum())
    class_present = np.zeros((len(first), len(data.task.classes)), dtype=bool)
    class_present[statistics.same, data.labels] = True
    conflicting = int(counts[class_present.sum(1) > 1].sum())
    pair = data.row_ids[statistics.same == int(counts.argmax())][:2]
    yield DatasetWarning(
        "duplicates",
        "",
        duplicates,
        f"{duplicates:,} images equal an earlier one in every pixel, such as {pair[0]} and {pair[1]}; {across:,} of "
        f"the test "
        f"rows have an equal among the others, and {conflicting:,} rows an equal with another label. Remove the copies.",
    )


def _people(data: Dataset, statistics: _ImageStatistics) -> Iterator[DatasetWarning]:
    """People with several different images: recognizing the person predicts the label. Copies have their own warning."""
    people, index, counts = np.unique(data.subjects, return_inverse=True, return_counts=True)
    images = np.unique(np.stack([index.reshape(-1), statistics.same]), axis=1)
    repeated = int((np.bincount(images[0], minlength=len(people)) > 1).sum())
    if repeated:
        yield DatasetWarning(
            "repeated_people",
            "subject",
            repeated,
            f"{repeated:,} of {len(people):,} people have several images, one of them {int(counts.max()):,}. Splits are by "
            "person; audit with `subject='subject'`.",
        )
