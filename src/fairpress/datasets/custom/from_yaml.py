"""A dataset that a YAML file describes: a table; images if it has the key `image`; texts if it has the key `text`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairpress.core.config import parse, read_yaml
from fairpress.core.progress import OnMessage
from fairpress.datasets.custom import images, table, texts
from fairpress.datasets.custom.images_config import Images
from fairpress.datasets.custom.table_config import ConfigLocation, Table
from fairpress.datasets.custom.texts_config import TextTable
from fairpress.datasets.dataset import Dataset

Options = Table | Images | TextTable


def kind_of(document: Any) -> type[Options]:
    """Return what a YAML document describes: texts if it has the key `text`, images if it has `image`, else a table."""
    if isinstance(document, Mapping) and "text" in document:
        return TextTable
    return Images if isinstance(document, Mapping) and "image" in document else Table


def load_yaml(path: str, overrides: Mapping[str, Any], on_message: OnMessage) -> Dataset:
    """Return the dataset that a YAML file describes; see `Table`, `Images` and `TextTable` for its keys.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Options that replace or add to those in the file, such as ``folds``.
    on_message
        Receives a sentence before each slow step.

    Raises
    ------
    UserError
        Every error of the YAML at once, with line and column; or the first problem of the data.
    """
    document = read_yaml(path)
    if isinstance(document, dict):
        document.update(overrides)
    options = parse(kind_of(document), document, path)
    dumped = options.model_dump(mode="json")
    config = {key: dumped[key] for key in overrides}
    dataset = read(options, ConfigLocation(path, Path(path).parent, config, document), on_message)
    return replace(dataset, path=str(Path(path).absolute()))


def read(options: Options, location: ConfigLocation | None, on_message: OnMessage) -> Dataset:
    """Read a user's table, images or texts.

    Parameters
    ----------
    location
        The source of the options; None for options given in Python, whose paths are relative to the working directory.

    Raises
    ------
    UserError
        The data are invalid.
    """
    if isinstance(options, Images):
        return images.load(
            options,
            location or ConfigLocation("images", Path(), options.absolute_options("path", "folder")),
            on_message,
        )
    if isinstance(options, TextTable):
        return texts.load(
            options, location or ConfigLocation("text", Path(), options.absolute_options("path"))
        )
    return table.load(options, location or ConfigLocation("table", Path(), options.absolute_options("path")))
