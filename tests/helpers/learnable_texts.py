"""A made dataset of short texts in two made-up languages, whose labels follow from single words."""

from __future__ import annotations

import numpy as np

from fairpress.datasets.dataset import Dataset, Part, Task

WORDS = {
    "north": ["kola", "mirat", "suvo", "tenn", "arilo", "bek"],
    "south": ["ṣọ́wọ", "àlàyé", "ìdùnnú", "ẹkún", "ọjà", "orí"],
}
CLASSES = ("negative", "neutral", "positive")


def learnable_texts(rows: int = 400, seed: int = 0) -> Dataset:
    """Return texts of 1 to 24 words; the language's first words decide the class, and every fifth row is a test row."""
    generator = np.random.default_rng(seed)
    languages = np.where(np.arange(rows) % 4 == 0, "south", "north")
    labels = generator.integers(0, 3, rows)
    texts = []
    for language, label in zip(languages, labels, strict=True):
        words = WORDS[str(language)]
        filling = [words[i] for i in generator.integers(3, 6, generator.integers(0, 24))]
        filling.insert(int(generator.integers(0, len(filling) + 1)), words[label])
        texts.append(" ".join(filling))
    index = np.arange(rows)
    parts: dict[Part, np.ndarray] = {
        "train": index[index % 5 < 2],
        "calibration": index[index % 5 == 2],
        "validation": index[index % 5 == 3],
        "test": index[index % 5 == 4],
    }
    values = np.array(texts, dtype=object)
    names = np.array([f"row {i}" for i in index])
    return Dataset(
        name="learnable-texts",
        task=Task("tone", CLASSES, None),
        inputs=values,
        texts=values,
        input_names=(),
        labels=labels.astype(np.int64),
        attributes={"language": languages.astype(str)},
        subjects=names,
        row_ids=names,
        parts=parts,
        fingerprint=f"learnable-texts {rows} {seed}",
    )
