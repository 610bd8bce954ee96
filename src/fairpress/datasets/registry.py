"""Datasets by name. A name's config class is its key: what it can be asked is what `load` accepts."""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from fairpress.core.config import parse
from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.download.sources import Say, SourceFile, find, print_progress
from fairpress.datasets.splits import SplitOptions

if TYPE_CHECKING:
    from fairpress.datasets.custom.images_config import Images
    from fairpress.datasets.custom.table_config import Table

_CONFIGS = {
    "adult": "fairpress.datasets.bundled.adult:Adult",
    "celeba": "fairpress.datasets.bundled.celeba:Celeba",
    "compas": "fairpress.datasets.bundled.compas:Compas",
    "compas-intervals": "fairpress.datasets.bundled.compas_intervals:CompasIntervals",
    "fairface": "fairpress.datasets.bundled.fairface:Fairface",
    "utkface": "fairpress.datasets.bundled.utkface:Utkface",
}
# Not among the names that ship: these are the user's own.
_OWN = {
    "table": "fairpress.datasets.custom.table_config:Table",
    "images": "fairpress.datasets.custom.images_config:Images",
}


class _Readable(Protocol):
    files: tuple[SourceFile, ...]

    def read(self, say: Say) -> Dataset: ...


class _Placed(Protocol):
    def place(self) -> Path: ...


def names() -> list[str]:
    """Return the names of the datasets that ship with fairpress; imports none of them."""
    return sorted(_CONFIGS)


def config_class(name: str) -> type[SplitOptions]:
    """Return the config class of a dataset. Raises UserError with what was probably meant."""
    known = _CONFIGS | _OWN
    if name not in known and os.path.isfile(name):  # Path.is_file raises for a name that is too long
        what = (
            "a table"
            if Path(name).suffix.lower() in (".csv", ".parquet")
            else "a file that is no description of data"
        )
        raise UserError(
            f"{name} is {what}; describe the table in a YAML file (docs/your-own-data.md), beginning with the lines `path: "
            f"{Path(name).name}` and `label: …`, and name that file."
        )
    if name not in known and os.path.isdir(name):
        raise UserError(
            f"{name} is a folder; describe the images or the table in it in a YAML file (docs/your-own-data.md), and name "
            "that file."
        )
    if name not in known:
        raise UserError(
            f"there is no dataset {name[:200]!r}; give the name of a shipped one, or a YAML file that describes a "
            "table or images." + did_you_mean(name[:200], _CONFIGS)
        )
    module, _, attribute = known[name].partition(":")
    return cast("type[SplitOptions]", getattr(import_module(module), attribute))


def load(name: str | os.PathLike[str], *, say: Say = print_progress, **config: Any) -> Dataset:
    """Return a dataset: a shipped one by its name, or the table or the images that a YAML file describes.

    Parameters
    ----------
    name
        ``"compas"``, ``"adult"`` (`names` lists them), the path of a ``.yaml`` file that describes a table or
        images, or ``"table"`` or ``"images"`` with the keys of such a file as options.
    say
        Receives a sentence before each slow step, such as a download.
    **config
        The dataset's options; every dataset takes ``folds``, ``fold``, ``split_seed`` and ``test_share``.

    Raises
    ------
    UserError
        Unknown name or option (with what was probably meant), or the data is nowhere or unusable.
    """
    text = os.fspath(name)
    if Path(text).suffix.lower() in (".yaml", ".yml"):
        from fairpress.datasets.custom.from_yaml import load_yaml

        return load_yaml(text, config, say)
    chosen = parse(config_class(text), config, text)
    if text in _OWN:
        from fairpress.datasets.custom.from_yaml import read

        return read(cast("Table | Images", chosen), None, say)
    return cast("_Readable", chosen).read(say)


def file_digests(name: str, say: Say = print_progress) -> dict[str, str]:
    """Return path → sha256 of the files of a shipped dataset as they are here; empty where it has no fixed files."""
    files = cast("_Readable", config_class(name)).files
    return {
        file.path: hashlib.sha256(place.read_bytes()).hexdigest()
        for file, place in zip(files, find(files, say), strict=True)
    }


def fetch(name: str, say: Say = print_progress) -> list[Path]:
    """Bring a shipped dataset's files onto this machine and return where they are.

    Raises UserError where that fails, or saying how to get a dataset that may not be passed on.
    """
    config = config_class(name)
    if hasattr(config, "place"):  # faces that may not be passed on
        return [cast("_Placed", config()).place()]
    return find(cast("_Readable", config).files, say)
