"""A model as it is shipped: the bytes of one ONNX file, its card, and weights to go on from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.core.json_file import read_regular
from fairpress.core.output import check_folder, write_folder
from fairpress.core.places import nearest_existing
from fairpress.mitigation.artifact import Mitigation

ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"
MOST_BYTES = 4 << 30  # protobuf holds 2 GiB
MITIGATION_FILE = "mitigation.json"
PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".bin"}


def refuse_taken(target: Path, *, inputs: Iterable[Path | str] = (), force: bool = False) -> None:
    """Refuse, before the work, a folder that `Artifact.save` could not or must not write; see `core.output.check_folder`."""
    check_folder(target, inputs=inputs, force=force)


@dataclass(frozen=True)
class Artifact:
    """An ONNX file in memory with its card.

    Attributes
    ----------
    card
        What the file does not say itself.
    onnx
        The bytes of ``model.onnx``; their number is "the size".
    weights
        The bytes of ``model.safetensors``; ``None`` when there is nothing to train on from.
    mitigation
        What repairs the file's scores; `predict` applies it.
    """

    card: ModelCard
    onnx: bytes
    weights: bytes | None = None
    mitigation: Mitigation | None = None

    @property
    def digest(self) -> str:
        """sha256 of the ONNX graph; an audit that is embedded later does not change it."""
        from fairpress.runtime.onnx.metadata import graph_digest

        return graph_digest(self.onnx)

    @property
    def size(self) -> int:
        """Bytes of the file a user ships."""
        return len(self.onnx)

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the model folder, whole or not at all.

        Parameters
        ----------
        force
            Whether a model folder that is there may be replaced.

        Raises
        ------
        UserError
            The place cannot be written, or holds files that would be lost; see `core.output.write_folder`.
        """
        return write_folder(folder, self.files(), force=force)

    def files(self) -> dict[str, bytes]:
        """Return the files of the model folder: name → bytes."""
        out = {ONNX_FILE: self.onnx, CARD_FILE: self.card.to_json().encode()}
        if self.weights is not None:
            out[WEIGHTS_FILE] = self.weights
        if self.mitigation is not None:
            out[MITIGATION_FILE] = self.mitigation.to_json().encode()
        return out

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Artifact:
        """Read a model folder. Raises UserError with the remedy for anything else, pickles included."""
        place = Path(folder)
        if place.suffix.lower() in PICKLES:
            raise UserError(
                f"{place} is a pickle, which can run any code when it is opened; fairpress reads ONNX and "
                "safetensors only. Export the network with torch.onnx.export(..., dynamo=True)."
            )
        if not os.path.exists(place):  # Path.exists raises for a name that is too long
            raise UserError(f"there is no model folder {place}; check the path." + nearest_existing(place))
        card, onnx = place / CARD_FILE, place / ONNX_FILE
        if not place.is_dir() or not card.is_file() or not onnx.is_file():
            what = f"it needs {ONNX_FILE} and {CARD_FILE}" if place.is_dir() else "it is a file"
            raise UserError(
                f"{place} is not a model folder: {what}; name a folder that fairpress wrote, or an .onnx file."
            )
        weights, repair = place / WEIGHTS_FILE, place / MITIGATION_FILE
        found = cls(
            ModelCard.read(card),
            read_regular(onnx, "an ONNX model", MOST_BYTES),
            read_regular(weights, "the model's weights", MOST_BYTES) if weights.exists() else None,
            Mitigation.read(repair) if repair.exists() else None,
        )
        if found.mitigation is not None and found.mitigation.model != found.digest:
            raise UserError(
                f"{repair} was fitted to the scores of another model.onnx; run fairpress mitigate on this one."
            )
        return found
