"""A study's folder: what stands in it, written whole or not at all."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from fairpress.core.errors import UserError

OURS = ("figures/*.svg", "figures/*.pdf", "figures/*.png", "predictions.parquet", "predictions/*.parquet")


def slug(text: str) -> str:
    """Return a file name: letters, digits, dots and single dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")


def write(out: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder: all beside their places first, then all into them; figures and predictions of earlier
    runs that are not among them are removed.

    Raises UserError when that fails, such as on a full disk; what stood there before then still does.
    """
    try:
        for name, data in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            _hidden(out / name).write_bytes(data)
        for name in files:
            _hidden(out / name).replace(out / name)
        for pattern in OURS:
            for path in out.glob(pattern):
                if path.relative_to(out).as_posix() not in files:
                    path.unlink()  # of an earlier run with other recipes or datasets
    except OSError as error:
        for name in files:
            with contextlib.suppress(OSError):
                _hidden(out / name).unlink()
        raise UserError(
            f"cannot write {out} ({error.strerror or error}); finished work stays in the store."
        ) from None


def _hidden(path: Path) -> Path:
    """Return where a file is written before it takes its place."""
    return path.with_name(f".{path.name}")
