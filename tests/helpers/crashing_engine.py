"""Functions that open a file as a runtime might: one crashes, one never returns, one refuses, one works."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.external.engines.base import FileInput


def crash(path: Path, runtime: Backend) -> Any:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(path: Path, runtime: Backend) -> Any:
    time.sleep(600)


def refuse(path: Path, runtime: Backend) -> Any:
    raise UserError(f"{path.name} is refused for {runtime.threads} threads.")


def work(path: Path, runtime: Backend) -> Any:
    """Count the trials in the file beside it, by a letter each, and note the shape that is run."""

    def run(names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        with path.with_suffix(".log").open("a") as log:
            log.write(f"{names} {feed['x'].shape} {feed['x'].dtype}\n")
        raise RuntimeError("zeros are no good input")

    return SimpleNamespace(
        inputs=(FileInput("x", "tensor(int32)", (None, 3)),), outputs={"y": "tensor(float)"}, run=run
    )
