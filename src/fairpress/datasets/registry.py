"""Datasets by name; the fields of a dataset's config class are the options of `load`."""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from fairpress.core.config import parse
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.progress import OnMessage, print_message
from fairpress.core.public_function import public_function
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.download.sources import SourceFile, find
from fairpress.datasets.splits import SplitOptions

if TYPE_CHECKING:
    from fairpress.datasets.custom.from_yaml import Options

_CONFIGS = {
    "adult": "fairpress.datasets.bundled.adult:Adult",
    "afrisenti": "fairpress.datasets.bundled.afrisenti:Afrisenti",
    "celeba": "fairpress.datasets.bundled.celeba:Celeba",
    "compas": "fairpress.datasets.bundled.compas:Compas",
    "compas-intervals": "fairpress.datasets.bundled.compas_intervals:CompasIntervals",
    "fairface": "fairpress.datasets.bundled.fairface:Fairface",
    "hatecheck": "fairpress.datasets.bundled.hatecheck:Hatecheck",
    "utkface": "fairpress.datasets.bundled.utkface:Utkface",
}
# Datasets of the user; they do not ship.
_CUSTOM = {
    "table": "fairpress.datasets.custom.table_config:Table",
    "images": "fairpress.datasets.custom.images_config:Images",
    "text": "fairpress.datasets.custom.texts_config:TextTable",
}


class _Readable(Protocol):
    files: tuple[SourceFile, ...]

    def read(self, on_message: OnMessage) -> Dataset: ...


class _LocalData(Protocol):
    def data_folder(self) -> Path: ...


def names() -> list[str]:
    """Return the names of the datasets that ship with fairpress; imports none of them."""
    return sorted(_CONFIGS)


def config_class(name: str) -> type[SplitOptions]:
    """Return the config class of a dataset. Raises UserError with a suggestion."""
    configs = _CONFIGS | _CUSTOM
    if name not in configs and os.path.isfile(name):  # Path.is_file raises for a name that is too long
        description = (
            "a table"
            if Path(name).suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet")
            else "not a description of data"
        )
        raise UserError(
            f"{name} is {description}; describe the table in a YAML file (docs/your-own-data.md), beginning with the "
            f"lines `path: "
            f"{Path(name).name}` and `label: …`, and name that file."
        )
    if name not in configs and os.path.isdir(name):
        raise UserError(
            f"{name} is a folder; describe the images or the table in it in a YAML file (docs/your-own-data.md), and name "
            "that file."
        )
    if name not in configs:
        raise UserError(
            f"there is no dataset {name[:200]!r}; give the name of a shipped one, or a YAML file that describes a "
            "table, images or texts." + did_you_mean(name[:200], _CONFIGS)
        )
    module, _, attribute = configs[name].partition(":")
    return cast("type[SplitOptions]", getattr(import_module(module), attribute))


@public_function
def load(name: str | os.PathLike[str], *, on_message: OnMessage = print_message, **config: Any) -> Dataset:
    """Return a dataset: a shipped one by its name, or the table, the images or the texts that a YAML file describes.

    Parameters
    ----------
    name
        ``"compas"``, ``"adult"`` (`names` lists them), the path of a ``.yaml`` file that describes a table, images
        or texts, or ``"table"``, ``"images"`` or ``"text"`` with the keys of such a file as options.
    on_message
        Receives a sentence before each slow step, such as a download.
    **config
        The dataset's options; every dataset takes ``folds``, ``fold``, ``split_seed`` and ``test_share``.

    Raises
    ------
    UserError
        Unknown name or option (with a suggestion), or the data cannot be found or used.
    """
    text = os.fspath(name)
    if Path(text).suffix.lower() in (".yaml", ".yml"):
        from fairpress.datasets.custom.from_yaml import load_yaml

        return load_yaml(text, config, on_message)
    chosen = parse(config_class(text), config, text)
    if text in _CUSTOM:
        from fairpress.datasets.custom.from_yaml import read

        return read(cast("Options", chosen), None, on_message)
    return cast("_Readable", chosen).read(on_message)


def file_digests(name: str, on_message: OnMessage = print_message) -> dict[str, str]:
    """Return path → sha256 of the files of a shipped dataset as they are here; empty where it has no fixed files."""
    files = cast("_Readable", config_class(name)).files
    return {
        file.path: hashlib.sha256(path.read_bytes()).hexdigest()
        for file, path in zip(files, find(files, on_message), strict=True)
    }


def fetch(name: str, on_message: OnMessage = print_message) -> list[Path]:
    """Bring a shipped dataset's files onto this machine and return where they are.

    Raises UserError if that fails, with instructions for a dataset that may not be redistributed.
    """
    config = config_class(name)
    if hasattr(config, "data_folder"):  # faces that may not be redistributed
        return [cast("_LocalData", config()).data_folder()]
    return find(cast("_Readable", config).files, on_message)
