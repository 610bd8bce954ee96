"""Write the winner as a folder: model files and the search as JSON, Markdown and chart."""

from __future__ import annotations

import json
from pathlib import Path

from fairpress.core.output import write_folder
from fairpress.searching.candidate_table import markdown
from fairpress.searching.pareto_plot import draw
from fairpress.searching.result import SearchResult


def save_result(result: SearchResult, folder: str | Path, *, force: bool = False) -> Path:
    """Write model.onnx, card.json, audit.json, search.json, search.md and front.svg, all or nothing.

    Raises UserError if the folder cannot be written or contains files that would be lost (`core.output.write_folder`).
    """
    texts = {
        "search.json": json.dumps(result.searched.to_dict(), indent=1) + "\n",
        "audit.json": json.dumps(result.audit.to_dict(), indent=1) + "\n",
        "search.md": markdown(result),
        "front.svg": draw(result.searched),
    }
    files = result.artifact.files() | {name: text.encode() for name, text in texts.items()}
    return write_folder(folder, files, force=force)
