"""The tables of docs/zoo.md from what `zoo.py` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = (
    "| network | recipe | same answers | difference | integers: parameters, bytes | integer kernels | float products |\n"
    "|---|---|---|---|---|---|---|"
)
GROUPS = {
    "By hand": lambda name: not name.startswith(("torchvision", "timm", "transformers")),
    "transformers": lambda name: name.startswith("transformers"),
    "torchvision and timm": lambda name: name.startswith(("torchvision", "timm")),
}


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table for each kind of network, a line of totals before and what was refused after them."""
    files = [row for row in rows if row["answer"] == "file"]
    refused = [row for row in rows if row["answer"] != "file"]
    names = {row["network"] for row in rows}
    agreeing = sum(bool(row.get("card")) for row in files)
    parts = [
        f"{len(names)} networks, {len(rows)} pairs of a network and a recipe: {len(files)} files, {len(refused)} refused. "
        f"{agreeing} of {len(files)} cards state the numbers that were read from the file."
    ]
    for title, belongs in GROUPS.items():
        lines = [_line(row) for row in files if belongs(row["network"])]
        if lines:
            parts.append(f"**{title}**\n\n{HEAD}\n" + "\n".join(lines))
    parts += [f"`{row['recipe']}` of {row['network']}: {row['said']}" for row in refused]
    return "\n\n".join(parts)


def _line(row: Mapping[str, Any]) -> str:
    name = row["network"].removeprefix("torchvision ").removeprefix("timm ").removeprefix("transformers ")
    integers = {b: s for b, s in row["share"].items() if int(b) < 32}
    share, size = sum(integers.values()), sum(row["bytes_share"].get(b, 0) for b in integers)
    told = f"{share:.1%}, {size:.0%}" if integers else "–"
    counts = row.get("operators", {})
    kernels = ", ".join(f"{count} {op}" for op, count in counts.items() if not op.startswith("float "))
    floats = ", ".join(
        f"{count} {op.removeprefix('float ')}" for op, count in counts.items() if op.startswith("float ")
    )
    return (
        f"| {name} | `{row['recipe']}` | {row['agree']:.1%} | {row['difference']:.2g} | {told} | {kernels or '–'} | "
        f"{floats or '–'} |"
    )
