"""Resume an interrupted training: its state after each epoch, in one file that is written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from fairpress.core.errors import UserError
from fairpress.core.json_file import parse_json

FILE = "epoch.safetensors"


def clear(folder: Path) -> None:
    """Remove the checkpoints of finished trainings (a subfolder per network), and each folder that is empty then."""
    for holder in (*folder.glob("[0-9]*"), folder):
        with contextlib.suppress(OSError):  # the folder does not exist, or has other files
            for name in (FILE, f"{FILE}.part"):
                (holder / name).unlink(missing_ok=True)
            holder.rmdir()


@dataclass(frozen=True)
class TrainingCheckpoint:
    """The checkpoint of an unfinished training.

    Attributes
    ----------
    folder
        Holds this checkpoint and nothing else.
    key
        Digest of everything the training depends on; the state of another training is ignored.
    remember
        Further facts for resuming.
    """

    folder: Path
    key: str
    remember: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the folder. Raises UserError when that is impossible, before any time is spent."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def of_another(self) -> bool:
        """Return whether the folder has another training's state; the first epoch replaces it."""
        return (self.folder / FILE).exists() and self._facts() is None

    def remembered(self) -> dict[str, Any] | None:
        """Return the further facts; None if there is no state of this training."""
        facts = self._facts()
        return None if facts is None else dict(facts["remember"])

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and facts of the last finished epoch; None where there is none of this training."""
        from safetensors import safe_open

        facts = self._facts()
        if facts is None:
            return None
        with safe_open(self.folder / FILE, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118  no dict

    def _facts(self) -> dict[str, Any] | None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.folder / FILE, framework="pt") as file:
                facts = parse_json(
                    (file.metadata() or {})["facts"], "the state of the training", finite=False
                )
        except (OSError, SafetensorError, KeyError, UserError):
            return None
        return facts if isinstance(facts, dict) and facts.get("key") == self.key else None

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the checkpoint. Raises UserError if it cannot be written."""
        from safetensors.torch import save

        target, temporary = self.folder / FILE, self.folder / f"{FILE}.part"
        try:
            # Not save_file: its temporary file has a random name, which a kill would leave behind.
            data = save(
                {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
                {"facts": json.dumps({**facts, "key": self.key, "remember": dict(self.remember)})},
            )
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write the state of the training into {self.folder} ({error.strerror or error}); free some space, "
            "or choose another folder for `out=`."
        )
