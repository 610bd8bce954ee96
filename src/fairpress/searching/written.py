"""The winner as a folder: its model files, and beside them what was found, as JSON, page and picture."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from fairpress.core.errors import UserError
from fairpress.runtime.artifact import refuse_taken
from fairpress.searching.picture import draw
from fairpress.searching.result import Found
from fairpress.searching.table import markdown


def save(found: Found, folder: str | Path) -> Path:
    """Write model.onnx, card.json, audit.json, search.json, search.md and front.svg, all or nothing.

    Raises UserError when the place cannot be written.
    """
    target = Path(folder)
    refuse_taken(target)
    scratch = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        own = found.artifact.save(scratch / "model")
        for name, text in {
            "search.json": json.dumps(found.searched.to_dict(), indent=1) + "\n",
            "audit.json": json.dumps(found.audit.to_dict(), indent=1) + "\n",
            "search.md": markdown(found),
            "front.svg": draw(found.searched),
        }.items():
            (own / name).write_text(text, encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        own.rename(target)
    except OSError as error:
        raise UserError(
            f"cannot write {target} ({error.strerror or error}); choose a folder you may write to."
        ) from None
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return target
