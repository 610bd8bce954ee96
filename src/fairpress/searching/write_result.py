"""The winner as a folder: its model files, and with them what was found, as JSON, page and picture."""

from __future__ import annotations

import json
from pathlib import Path

from fairpress.core.output import write_folder
from fairpress.searching.candidate_table import markdown
from fairpress.searching.pareto_plot import draw
from fairpress.searching.result import SearchResult


def save_result(found: SearchResult, folder: str | Path, *, force: bool = False) -> Path:
    """Write model.onnx, card.json, audit.json, search.json, search.md and front.svg, all or nothing.

    Raises UserError when the place cannot be written, or holds files that would be lost (`core.output.write_folder`).
    """
    texts = {
        "search.json": json.dumps(found.searched.to_dict(), indent=1) + "\n",
        "audit.json": json.dumps(found.audit.to_dict(), indent=1) + "\n",
        "search.md": markdown(found),
        "front.svg": draw(found.searched),
    }
    files = found.artifact.files() | {name: text.encode() for name, text in texts.items()}
    return write_folder(folder, files, force=force)
