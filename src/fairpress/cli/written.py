"""Input and output files of a command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from fairpress.cli.app import print_line, print_sentence
from fairpress.core.errors import UserError


def written_files(tables: Sequence[str]) -> list[str]:
    """Return the files of the tables that a command reads, with globs expanded."""
    return [file for text in tables for file in (glob(text, recursive=True) or [text])]


def files_of_data(data: str | None) -> list[Path]:
    """Return a dataset's YAML file and the file that its ``path`` names; empty for a dataset that is not a YAML file."""
    from fairpress.core.yaml_file import read_yaml

    yaml_file = Path(data or "")
    if yaml_file.suffix.lower() not in (".yaml", ".yml") or not yaml_file.is_file():
        return []
    try:
        content = read_yaml(yaml_file)
    except UserError:  # loading the dataset reports the error
        return [yaml_file]
    path = content.get("path") if isinstance(content, dict) else None
    return [yaml_file, *([yaml_file.parent / path] if isinstance(path, str) else [])]


def files_of_card(model: str | Path) -> list[Path]:
    """Return the files of the dataset that a model folder's card names, as far as they are known without reading it."""
    from fairpress.datasets.reload import sources_of
    from fairpress.runtime.artifact import Artifact

    try:
        facts = Artifact.load(model).card.data
    except UserError:  # opening the model reports the error
        return []
    return [file for source in sources_of(facts) for file in files_of_data(source)]


def print_files(paths: Sequence[str | Path], aside: bool) -> None:
    """Print which files a command wrote and which of them to open; nothing without files."""
    if not paths:
        return
    pages = [str(path) for path in paths if str(path).lower().endswith((".html", ".htm"))]
    opened = f". Open {' and '.join(pages)} in a browser." if pages else ""
    print_written(f"Written: {', '.join(map(str, paths))}{opened}", aside)


def next_predict(models: Sequence[Path], data: str | None = None) -> str:
    """Return the command that runs models on the same test rows, each named after its folder where names differ.

    `data` is what was named instead of the data on the models' cards.
    """
    names = [path.resolve().name for path in models]
    if len(set(names)) < len(names):
        names = ["base", *(f"model{i}" for i in range(1, len(names)))]
    named = [f"{name}={path}" for name, path in zip(names, models, strict=True)]
    named += ["--data", data] if data is not None else []
    return shlex.join(["fairpress", "predict", *named, "--out", "predictions.parquet"])


def print_next(command: str) -> None:
    """Print the command that usually follows."""
    print_line(f"Next: {command}", markup=False, soft_wrap=True)


def print_written(text: str, aside: bool) -> None:
    """Print a line, on standard error if `aside`, because standard output is parsed."""
    if aside:
        sys.stderr.write(f"{text}\n")
    else:
        print_sentence(text)
