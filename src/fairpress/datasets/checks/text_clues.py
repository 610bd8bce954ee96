"""What gives the label of a text away, or the part it is in: a word, the class's name, its first or last character."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from fairpress.datasets.checks.warning import GIVEAWAY_ACCURACY, DatasetWarning, single_feature_accuracy
from fairpress.datasets.dataset import Dataset

MIN_ROWS = 20  # training rows with a word
MIN_TEST_ROWS = 5
MIN_COVERAGE = 0.05  # of a class's training rows: a word that is rarer cannot carry an accuracy
MIN_PURITY = 0.98  # of the rows with a word that are of one class
MAX_BASE_RATE = 0.9
NAME_PURITY = 0.8  # of the rows whose text has the name of a class
MIN_PART_ROWS, MIN_DIFFERENCE = 50, 0.5  # rows of a group in a part; difference of shares between parts
_WORD = re.compile(r"\w+")


def check_clues(data: Dataset, texts: Sequence[str]) -> Iterator[DatasetWarning]:
    """Yield the warnings; `texts` are normalized."""
    train, test = data.parts["train"], data.parts["test"]
    yield from _shape(data, texts)
    yield from _names(data, texts)
    yield from _words(data, texts, train, test)
    yield from _marked_parts(data, texts)


def _ends(texts: Sequence[str]) -> dict[str, np.ndarray]:
    return {
        "begin": np.array([text[:1] for text in texts]),
        "end": np.array([text[-1:] for text in texts]),
    }


def _shape(data: Dataset, texts: Sequence[str]) -> Iterator[DatasetWarning]:
    """The length or the first or last character predicts the label: the classes come from different sources."""
    train, test = data.parts["train"], data.parts["test"]
    commonest = float(np.bincount(data.labels[test]).max() / len(test))
    ends = _ends(texts)
    values = {
        "length": np.array([len(text) for text in texts]),
        "first character": ends["begin"],
        "last character": ends["end"],
    }
    for name, value in values.items():
        right = single_feature_accuracy(value[train], data.labels[train], value[test], data.labels[test])
        if right >= GIVEAWAY_ACCURACY and right > (1 + commonest) / 2:
            yield DatasetWarning(
                "gives_away",
                name,
                right,
                f"the {name} of a text alone predicts the label of {right:.1%} of the test rows: if the classes come from "
                "different sources, that is what a network learns.",
            )


def _names(data: Dataset, texts: Sequence[str]) -> Iterator[DatasetWarning]:
    """The name of a class stands in texts of this class."""
    for index, name in enumerate(data.task.classes):
        word = " ".join(name.casefold().split())
        base_rate = float((data.labels == index).mean())
        if not any(character.isalpha() for character in word):
            continue
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        rows = np.array(
            [i for i, text in enumerate(texts) if word in text and pattern.search(text)], dtype=np.int64
        )
        right = int((data.labels[rows] == index).sum())
        if len(rows) >= MIN_ROWS and right / len(rows) >= max(NAME_PURITY, (1 + base_rate) / 2):
            yield DatasetWarning(
                "label_in_text",
                name,
                right,
                f"{len(rows):,} texts have the name of the class {name!r} in them, and {right:,} of these are of that class "
                f"(of all rows {base_rate:.0%}): the label may have been written into the text; remove it there.",
            )


def _words(
    data: Dataset, texts: Sequence[str], train: np.ndarray, test: np.ndarray
) -> Iterator[DatasetWarning]:
    """Words that nearly all texts with them have of one class, in training and test rows."""
    numbers: dict[str, int] = {}
    pairs = [
        (numbers.setdefault(word, len(numbers)), row)
        for row, text in enumerate(texts)
        for word in set(_WORD.findall(text))
    ]
    if not pairs:
        return
    word, row = np.array(pairs, dtype=np.int64).T
    classes = len(data.task.classes)

    def counts(rows: np.ndarray) -> np.ndarray:
        chosen = np.zeros(len(texts), dtype=bool)
        chosen[rows] = True
        selected = chosen[row]
        flat = np.bincount(
            word[selected] * classes + data.labels[row[selected]], minlength=len(numbers) * classes
        )
        return flat.reshape(len(numbers), classes)

    in_train, in_test = counts(train), counts(test)
    class_rows = np.bincount(data.labels[train], minlength=classes)
    vocabulary = list(numbers)
    for index, name in enumerate(data.task.classes):
        if class_rows[index] > MAX_BASE_RATE * len(train):
            continue
        total, total_test = in_train.sum(axis=1), in_test.sum(axis=1)
        pure = (in_train[:, index] >= MIN_PURITY * total) & (in_test[:, index] >= MIN_PURITY * total_test)
        common = (total >= MIN_ROWS) & (in_train[:, index] >= MIN_COVERAGE * class_rows[index])
        decisive = np.flatnonzero(pure & common & (total_test >= MIN_TEST_ROWS))
        decisive = decisive[np.argsort(-in_train[decisive, index], kind="stable")]
        if len(decisive):
            listed = ", ".join(
                f"{vocabulary[w]!r} ({in_train[w, index]:,} of {total[w]:,} training rows with it, {in_test[w, index]:,} of "
                f"{total_test[w]:,} test rows)"
                for w in decisive[:5].tolist()
            )
            more = f" and {len(decisive) - 5} more words" if len(decisive) > 5 else ""
            yield DatasetWarning(
                "giveaway_words",
                name,
                len(decisive),
                f"texts with one of these words are nearly always {name!r}: {listed}{more}. If a word comes from how the "
                "data were gathered, a network learns it in place of the task; remove it.",
            )


def _marked_parts(data: Dataset, texts: Sequence[str]) -> Iterator[DatasetWarning]:
    """Texts of a group that begin or end differently in the test part than in training: they were processed differently.

    Only the first attribute with such groups is named: others, such as the script, show the same.
    """
    for name, groups in {**data.attributes, "": np.full(len(data), "all")}.items():
        marked = [
            sentence
            for how, characters in _ends(texts).items()
            for group in np.unique(groups[data.parts["test"]]).tolist()
            if (sentence := _marked(data, characters, groups == group, group, how))
        ]
        if marked:
            by = f"by {name!r}, texts" if name else "texts"
            more = f" and {len(marked) - 4} more" if len(marked) > 4 else ""
            yield DatasetWarning(
                "marked_parts",
                name,
                len(marked),
                f"{by} differ between training and test: {'; '.join(marked[:4])}{more}. Such parts were processed "
                "differently, and accuracy on the test rows is that on texts unlike those of training.",
            )
            return


def _marked(data: Dataset, characters: np.ndarray, members: np.ndarray, group: str, how: str) -> str:
    """Return what tells test texts of a group from its training texts, empty if nothing does."""
    train, test = (characters[rows[members[rows]]] for rows in (data.parts["train"], data.parts["test"]))
    if min(len(train), len(test)) < MIN_PART_ROWS:
        return ""
    values, counts = np.unique(np.concatenate([train, test]), return_counts=True)
    character = values[counts.argmax()]
    before, after = float((train == character).mean()), float((test == character).mean())
    if abs(before - after) < MIN_DIFFERENCE:
        return ""
    return f"{group}, where {before:.0%} of training and {after:.0%} of test texts {how} with {character}"
