"""Scripts and lengths of the texts of each group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fairpress.datasets.checks.warning import DatasetWarning
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.texts.scripts import NO_LETTERS, main_scripts

MIN_SHARE = 0.02  # of a group's texts that are in a script, for the script to be listed
MAX_GROUPS = 12


def check_scripts(data: Dataset) -> Iterator[DatasetWarning]:
    """Yield the groups whose texts are in another script than most, and texts without any letter."""
    assert data.texts is not None
    scripts = main_scripts(data.texts)
    names, counts = np.unique(scripts, return_counts=True)
    commonest = names[counts.argmax()]
    for name, groups in data.attributes.items():
        if all(group in names for group in np.unique(groups).tolist()):
            continue  # the attribute is the script
        other = []
        for group in np.unique(groups).tolist():
            share = float((scripts[groups == group] == commonest).mean())
            if share < 0.5:
                other.append(f"{group} ({_shares(scripts[groups == group])})")
        if other:
            yield DatasetWarning(
                "other_script",
                name,
                len(other),
                f"by {name!r}, these are mostly not in {commonest} as {counts.max() / len(scripts):.0%} of all texts are: "
                f"{', '.join(other[:8])}. Tokenizers cut rarer scripts into more tokens, so that such texts are truncated "
                "first, and lose first where the vocabulary is trimmed: audit by this attribute.",
            )
    wordless = scripts == NO_LETTERS
    if wordless.any():
        yield DatasetWarning(
            "no_letters",
            "",
            int(wordless.sum()),
            f"{int(wordless.sum()):,} texts have no letter, such as row {data.row_ids[wordless.argmax()]}; if they hold "
            "nothing that the label can depend on, remove them.",
        )


def texts_table(data: Dataset, tokens: np.ndarray | None = None) -> list[str]:
    """Return lengths and scripts of the texts as lines of text, of the largest groups of each attribute.

    `tokens` [rows] are numbers of tokens, which are shown too if they are given.
    """
    assert data.texts is not None
    characters = np.array([len(text) for text in data.texts])
    words = np.array([len(text.split()) for text in data.texts])
    scripts = main_scripts(data.texts)
    head = ["", "texts", "words: median", "99 %", "characters: median", "99 %", "longest"]
    lines = [[*head, *([] if tokens is None else ["tokens: median", "99 %", "longest", "a word"]), "scripts"]]
    for name, groups in {"": np.full(len(data), "everybody"), **data.attributes}.items():
        names, counts = np.unique(groups, return_counts=True)
        for group in names[np.argsort(-counts, kind="stable")][:MAX_GROUPS].tolist():
            where = groups == group
            numbers = (
                *np.quantile(words[where], [0.5, 0.99], method="higher"),
                *np.quantile(characters[where], [0.5, 0.99, 1], method="higher"),
            )
            cells = [f"{where.sum():,}", *(f"{int(n):,}" for n in numbers)]
            if tokens is not None:
                cells += [f"{int(n):,}" for n in np.quantile(tokens[where], [0.5, 0.99, 1], method="higher")]
                cells.append(f"{tokens[where].sum() / max(words[where].sum(), 1):.2f}")
            cells.append(_shares(scripts[where]))
            lines.append([f"{name}: {group}" if name else group, *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def _shares(scripts: np.ndarray) -> str:
    names, counts = np.unique(scripts, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = [(names[i], counts[i] / len(scripts)) for i in order.tolist()]
    return ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= MIN_SHARE)
