"""What a user calls a model: an artifact, its folder, or an ONNX file, with or without ``@runtime``."""

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
from fairpress.runtime.artifact import Artifact

if TYPE_CHECKING:
    from fairpress.runtime.external.model import ExternalModel

Model = Artifact | str | os.PathLike[str]


def named(models: Sequence[Model]) -> dict[str, Model]:
    """Name models after their folders, or their whole paths where two folders share a name."""
    places = [split_model(m)[0] for m in models]
    short = [
        f"model {i + 1}" if isinstance(p, Artifact) else Path(p).name.removesuffix(".onnx")
        for i, p in enumerate(places)
    ]
    if len(set(short)) < len(short):
        short = [s if isinstance(m, Artifact) else os.fspath(m) for s, m in zip(short, models, strict=True)]
    found = dict(zip(short, models, strict=True))
    if len(found) < len(models):
        raise UserError("a model is named twice; name each once.")
    return found


def read_onnx(path: Path) -> bytes:
    """Return the bytes of a file, with the weights that lie beside it. Raises UserError when it cannot be read."""
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


def _with_weights(path: Path, data: bytes) -> bytes:
    """Return a file as one, where its weights lie in others; files above 2 GiB cannot be one."""
    import onnx
    from google.protobuf.message import EncodeError

    from fairpress.runtime.onnx.load import parse_model, weights_beside

    model = parse_model(data, str(path))
    if not weights_beside(model, path):
        return data
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        raise UserError(
            f"{path} is larger than 2 GiB with the weights beside it, and cannot be read as one file."
        ) from None
    except onnx.checker.ValidationError as error:
        raise UserError(
            f"the weights beside {path} cannot be read ({str(error).splitlines()[0][:160]}); put them where it looks "
            "for them."
        ) from None


def split_model(model: Model) -> tuple[Model, str | None]:
    """Return the model and the runtime that its path names, as in ``int8/@openvino``."""
    from fairpress.runtime.backends.registry import split_suffix

    return (model, None) if isinstance(model, Artifact) else split_suffix(os.fspath(model))


def is_external(model: Model) -> bool:
    """Return whether this is an ONNX file and no model folder."""
    place, _ = split_model(model)
    return not isinstance(place, Artifact) and Path(place).suffix.lower() == ".onnx"


def open_reference(
    model: Model, dataset: Dataset, model_config: str | os.PathLike[str] | None = None
) -> Artifact | ExternalModel:
    """Return what a model is run by: its artifact, or an ONNX file made elsewhere, opened for this dataset."""
    from fairpress.runtime.external.model import open_external

    if isinstance(model, Artifact) or not is_external(model):
        return open_model(model)
    return open_external(model, dataset, model_config)


def open_model(model: Model) -> Artifact:
    """Return the artifact of a model folder, or the artifact itself."""
    if not isinstance(model, Artifact | str | os.PathLike):
        raise UserError(
            f"expected a model folder or an artifact, not {type(model).__name__}; `fairpress.compress` takes modules."
        )
    return model if isinstance(model, Artifact) else Artifact.load(model)


def data_of(artifact: Artifact) -> Dataset:
    """Load the dataset a card names; raise UserError when it is not the data the model was trained on."""
    return reload(artifact.card.data)


def data_for(artifact: Artifact, data: Dataset | str | None) -> Dataset:
    """Return a dataset, the one of a name, or the one that a card names where nothing is said."""
    if data is None:
        return data_of(artifact)
    return load_dataset(data) if isinstance(data, str) else data
