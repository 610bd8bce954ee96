"""Model references: an artifact, a model folder, or an external file, with or without ``@runtime``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.datasets import load as load_dataset
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.reload import reload
from fairpress.runtime.artifact import CARD_FILE, Artifact

if TYPE_CHECKING:
    from fairpress.runtime.backends.base import Backend
    from fairpress.runtime.external.model import ExternalModel

Model = Artifact | str | os.PathLike[str]


def name_models(models: Sequence[Model]) -> dict[str, Model]:
    """Name models after their folders, or by their full paths if two folders share a name."""
    references = [split_model(m)[0] for m in models]
    names = [
        f"model {i + 1}" if isinstance(p, Artifact) else _name(Path(p)) for i, p in enumerate(references)
    ]
    if len(set(names)) < len(names):
        names = [s if isinstance(m, Artifact) else os.fspath(m) for s, m in zip(names, models, strict=True)]
    by_name = dict(zip(names, models, strict=True))
    if len(by_name) < len(models):
        raise UserError("the same model is given twice; give each model once.")
    return by_name


def _name(path: Path) -> str:
    """Return a folder's name, or a file's without the suffix of its format."""
    from fairpress.runtime.external.engines.registry import FORMATS

    return path.stem if path.suffix.lower() in FORMATS else path.name


def default_runtime_of(model: Model) -> str:
    """Return the name of the runtime that runs a model if none is named."""
    from fairpress.runtime.backends.registry import DEFAULT
    from fairpress.runtime.external.engines.registry import runtimes_of

    reference, _ = split_model(model)
    if isinstance(reference, Artifact) or not is_external(reference):
        return DEFAULT
    return runtimes_of(Path(reference))[0]


def read_onnx(path: Path) -> bytes:
    """Return the bytes of an ONNX file, including external weights. Raises UserError if it cannot be read."""
    require_regular(path)
    try:
        data = path.read_bytes()
        return data if b"location" not in data else _with_weights(path, data)
    except FileNotFoundError as error:
        raise UserError(
            f"cannot read {error.filename or path}: there is no such file; check the path."
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error}); check its permissions.") from None


def weights_files(path: Path) -> list[Path]:
    """Return the files that hold an ONNX file's external weights. Raises UserError where `read_onnx` would."""
    from fairpress.runtime.onnx.load import external_data_files, parse_model

    require_regular(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error}); check its permissions.") from None
    return external_data_files(parse_model(data, str(path)), path) if b"location" in data else []


def _with_weights(path: Path, data: bytes) -> bytes:
    """Return the file with its external weights included; the total cannot exceed 2 GiB."""
    import onnx
    from google.protobuf.message import EncodeError

    from fairpress.runtime.onnx.load import external_data_files, parse_model

    model = parse_model(data, str(path))
    if not external_data_files(model, path):
        return data
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        raise UserError(
            f"{path} and its external weights exceed 2 GiB together and cannot be read as one file; use a smaller model."
        ) from None
    except onnx.checker.ValidationError as error:
        raise UserError(
            f"the external weights of {path} cannot be read ({str(error).splitlines()[0][:160]}); copy them to the "
            "location that the file names."
        ) from None


def split_model(model: Model) -> tuple[Model, str | None]:
    """Return the model and the runtime that its path names, as in ``int8/@openvino``."""
    from fairpress.runtime.backends.registry import split_suffix

    return (model, None) if isinstance(model, Artifact) else split_suffix(os.fspath(model))


def is_external(model: Model) -> bool:
    """Return whether the model is an external file, such as an ONNX file, and not a model folder."""
    from fairpress.runtime.external.engines.registry import FORMATS

    reference, _ = split_model(model)
    if isinstance(reference, Artifact) or os.path.isdir(reference):
        return False
    return Path(reference).suffix.lower() in FORMATS


def is_huggingface(model: Model) -> bool:
    """Return whether the model is a folder that transformers wrote: with config.json, and without a card."""
    reference, _ = split_model(model)
    if isinstance(reference, Artifact) or not os.path.isdir(reference):
        return False
    folder = Path(reference)
    return (folder / "config.json").is_file() and not (folder / CARD_FILE).exists()


def open_reference(
    model: Model,
    dataset: Dataset,
    model_config: str | os.PathLike[str] | None = None,
    runtime: Backend | None = None,
) -> Artifact | ExternalModel:
    """Return the artifact of a model folder, or an external file opened for this dataset by its runtime."""
    from fairpress.runtime.external.model import open_external

    if isinstance(model, Artifact) or not is_external(model):
        return open_model(model)
    return open_external(model, dataset, model_config, runtime)


def open_model(model: Model) -> Artifact:
    """Return the artifact of a model folder, or the artifact itself."""
    if not isinstance(model, Artifact | str | os.PathLike):
        raise UserError(
            f"expected a model folder or an artifact, not {type(model).__name__}; `fairpress.compress` takes modules."
        )
    return model if isinstance(model, Artifact) else Artifact.load(model)


def data_of(artifact: Artifact) -> Dataset:
    """Load the dataset that a card names. Raises UserError if it differs from the training data."""
    return reload(artifact.card.data)


def data_for(artifact: Artifact, data: Dataset | str | None) -> Dataset:
    """Return the given dataset, the dataset with the given name, or by default the one that the card names."""
    if data is None:
        return data_of(artifact)
    return load_dataset(data) if isinstance(data, str) else data
