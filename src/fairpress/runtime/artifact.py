"""A model as it is shipped: the bytes of one ONNX file, its card, and weights to go on from."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.core.places import nearest, require_writable
from fairpress.mitigation.record import Mitigation

ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"
MITIGATION_FILE = "mitigation.json"
WRITTEN = (ONNX_FILE, WEIGHTS_FILE, CARD_FILE, MITIGATION_FILE)
PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".bin"}


def refuse_taken(target: Path) -> None:
    """Raise UserError where something stands that a model folder would replace and that is none, or nothing can be made."""
    if target.exists() and not (target / CARD_FILE).exists() and (target.is_file() or any(target.iterdir())):
        raise UserError(f"{target} exists and is no model folder; choose another --out.")
    require_writable(target.absolute().parent)


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
        from fairpress.runtime.embed import graph_digest

        return graph_digest(self.onnx)

    @property
    def size(self) -> int:
        """Bytes of the file a user ships."""
        return len(self.onnx)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the model folder, whole or not at all. Raises UserError when the place cannot be written."""
        target = Path(folder)
        refuse_taken(target)
        temporary = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            temporary.chmod(0o755)
            (temporary / ONNX_FILE).write_bytes(self.onnx)
            if self.weights is not None:
                (temporary / WEIGHTS_FILE).write_bytes(self.weights)
            (temporary / CARD_FILE).write_text(self.card.to_json(), encoding="utf-8")
            if self.mitigation is not None:
                (temporary / MITIGATION_FILE).write_text(self.mitigation.to_json(), encoding="utf-8")
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
        except OSError as error:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(
                f"cannot write {target} ({error.strerror or error}); choose a folder you may write to."
            ) from None
        return target

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Artifact:
        """Read a model folder. Raises UserError with the remedy for anything else, pickles included."""
        place = Path(folder)
        if place.suffix.lower() in PICKLES:
            raise UserError(
                f"{place} is a pickle, which can run any code when it is opened; fairpress reads ONNX and "
                "safetensors only. Export the network with torch.onnx.export(..., dynamo=True)."
            )
        if not place.exists():
            raise UserError(f"there is no model folder {place}; check the path." + nearest(place))
        card, onnx = place / CARD_FILE, place / ONNX_FILE
        if not place.is_dir() or not card.is_file() or not onnx.is_file():
            what = f"it needs {ONNX_FILE} and {CARD_FILE}" if place.is_dir() else "it is a file"
            raise UserError(
                f"{place} is not a model folder: {what}; name a folder that fairpress wrote, or an .onnx file."
            )
        weights, repair = place / WEIGHTS_FILE, place / MITIGATION_FILE
        found = cls(
            ModelCard.from_json(card.read_text(encoding="utf-8"), str(card)),
            onnx.read_bytes(),
            weights.read_bytes() if weights.is_file() else None,
            Mitigation.from_json(repair.read_text(encoding="utf-8"), str(repair))
            if repair.is_file()
            else None,
        )
        if found.mitigation is not None and found.mitigation.model != found.digest:
            raise UserError(
                f"{repair} was fitted to the scores of another model.onnx; run fairpress mitigate on this one."
            )
        return found
