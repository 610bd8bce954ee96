"""A model as it is shipped: the bytes of one ONNX file, its card, and float weights for further training."""

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
from fairpress.tokenization.tokenizer import MAX_TOKENIZER_BYTES, TOKENIZER_FILE, TextTokenizer

ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"
MAX_BYTES = 4 << 30  # protobuf holds 2 GiB
MITIGATION_FILE = "mitigation.json"
PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".bin"}
_APPLE = (
    "a Core ML model, which runs on Apple's systems; write a table of its predictions there, and audit that"
)
_KERAS = "a model of TensorFlow; convert it to a .tflite or an ONNX file, and name that"
# What files are that no runtime here loads, and how their models are audited.
OTHER_FORMATS = {
    ".gguf": "a GGUF file, which llama.cpp runs; evaluate it there with lm-evaluation-harness, and audit its log with "
    "`fairpress audit --lm-eval`",
    ".mlmodel": _APPLE,
    ".mlpackage": _APPLE,
    ".mlmodelc": _APPLE,
    ".h5": _KERAS,
    ".keras": _KERAS,
    ".pb": _KERAS,
}


def check_target(target: Path, *, inputs: Iterable[Path | str] = (), force: bool = False) -> None:
    """Raise UserError, before any work, if `Artifact.save` could not or must not write to a folder (`core.output`)."""
    check_folder(target, inputs=inputs, force=force)


@dataclass(frozen=True)
class Artifact:
    """An ONNX file in memory with its card.

    Attributes
    ----------
    card
        Facts that the ONNX file does not contain.
    onnx
        The bytes of ``model.onnx``; their number is "the size".
    weights
        The bytes of ``model.safetensors``; ``None`` if the model cannot be trained further.
    mitigation
        Post-processing of the file's scores, applied by `predict`.
    tokenizer
        The bytes of ``tokenizer.json`` of a model that reads texts, else ``None``.
    """

    card: ModelCard
    onnx: bytes
    weights: bytes | None = None
    mitigation: Mitigation | None = None
    tokenizer: bytes | None = None

    @property
    def reads_texts(self) -> bool:
        """Whether a row is a text; the ONNX file then reads its token ids."""
        return self.card.inputs.get("kind") == "text"

    @property
    def text_tokenizer(self) -> TextTokenizer | None:
        """How the model reads texts; None for tables and images. Raises UserError if it is not the card's tokenizer."""
        return None if self.tokenizer is None else TextTokenizer.from_facts(self.tokenizer, self.card.inputs)

    @property
    def digest(self) -> str:
        """sha256 of the ONNX graph; embedding an audit does not change it."""
        from fairpress.runtime.onnx.metadata import graph_digest

        return graph_digest(self.onnx)

    @property
    def size(self) -> int:
        """Size of the ONNX file in bytes."""
        return len(self.onnx)

    def __str__(self) -> str:
        """What the file is, in a line: recipe, size, and which share of the parameters is at which width."""
        from fairpress.runtime.onnx.stored_widths import stored_widths, widths_text

        name = self.card.architecture.get("name", "a network")
        return f"{self.card.recipe} of {name}: {self.size:,} bytes; {widths_text(stored_widths(self.onnx))}"

    def save(self, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the model folder atomically.

        Parameters
        ----------
        force
            Whether an existing model folder may be replaced.

        Raises
        ------
        UserError
            The folder cannot be written, or contains files that would be lost; see `core.output.write_folder`.
        """
        return write_folder(folder, self.files(), force=force)

    def files(self) -> dict[str, bytes]:
        """Return the files of the model folder: name → bytes."""
        out = {ONNX_FILE: self.onnx, CARD_FILE: self.card.to_json().encode()}
        if self.weights is not None:
            out[WEIGHTS_FILE] = self.weights
        if self.mitigation is not None:
            out[MITIGATION_FILE] = self.mitigation.to_json().encode()
        if self.tokenizer is not None:
            out[TOKENIZER_FILE] = self.tokenizer
        return out

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Artifact:
        """Read a model folder. Raises UserError for anything else, including pickles."""
        path = Path(folder)
        if path.suffix.lower() == ".bin" and path.with_suffix(".xml").is_file():
            raise UserError(
                f"{path} holds the weights of {path.with_suffix('.xml')}, an OpenVINO file; name that file."
            )
        if path.suffix.lower() in PICKLES:
            raise UserError(
                f"{path} is a pickle, which can run any code when it is opened; fairpress reads ONNX and "
                "safetensors only. Export the network with torch.onnx.export(..., dynamo=True)."
            )
        if path.suffix.lower() in OTHER_FORMATS and not (path / CARD_FILE).is_file():
            raise UserError(f"{path} is {OTHER_FORMATS[path.suffix.lower()]}.")
        if not os.path.exists(path):  # Path.exists raises if the name is too long
            raise UserError(f"there is no model folder {path}; check the path." + nearest_existing(path))
        card, onnx = path / CARD_FILE, path / ONNX_FILE
        if (path / "config.json").is_file() and not card.exists():
            raise UserError(
                f"{path} is a Hugging Face folder; make a model folder of it with its data: fairpress compress {path} "
                "--recipe fp32 --data … --out …."
            )
        if not path.is_dir() or not card.is_file() or not onnx.is_file():
            problem = f"it needs {ONNX_FILE} and {CARD_FILE}" if path.is_dir() else "it is a file"
            alternative = "" if path.suffix == ".onnx" else ", or an .onnx file"
            raise UserError(
                f"{path} is not a model folder: {problem}; name a folder that fairpress wrote{alternative}."
            )
        weights, repair, tokenizer = (path / n for n in (WEIGHTS_FILE, MITIGATION_FILE, TOKENIZER_FILE))
        artifact = cls(
            ModelCard.read(card),
            read_regular(onnx, "an ONNX model", MAX_BYTES),
            read_regular(weights, "the model's weights", MAX_BYTES) if weights.exists() else None,
            Mitigation.read(repair) if repair.exists() else None,
            read_regular(tokenizer, "a tokenizer", MAX_TOKENIZER_BYTES) if tokenizer.exists() else None,
        )
        if "tokenizer" in artifact.card.inputs and artifact.tokenizer is None:
            raise UserError(
                f"{path} lacks {TOKENIZER_FILE}, without which the model reads no text; copy the whole folder."
            )
        if artifact.mitigation is not None and artifact.mitigation.model != artifact.digest:
            raise UserError(
                f"{repair} was fitted to the scores of another model.onnx; run fairpress mitigate on this one."
            )
        return artifact
