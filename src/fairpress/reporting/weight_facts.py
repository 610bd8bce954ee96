"""What a model folder holds, in words: bit widths, embedding table, tokenizer and maximum length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fairpress.reporting.formatting import size
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.truncation import percent

if TYPE_CHECKING:
    from fairpress.runtime.onnx.stored_weights import StoredWeights


def weight_facts(data: bytes) -> dict[str, str]:
    """Return the shares of weights and of the file's bytes at each bit width; embedding tables apart, if there are any."""
    from fairpress.runtime.onnx.stored_weights import stored_weights

    groups = stored_weights(data)
    if not groups:
        return {}
    total = sum(g.weights for g in groups)
    facts = {"weights": f"{total:,}{_by_width(groups, total, len(data))}"}
    tables = [g for g in groups if g.embedding]
    if tables:
        count = sum(g.weights for g in tables)
        facts["embedding table"] = (
            f"{count:,} weights, {percent(count / total)} of all{_by_width(tables, count, len(data))}"
        )
    return facts


def text_facts(artifact: Artifact) -> dict[str, str]:
    """Return the tokenizer and the maximum length of a model that reads texts; empty for others."""
    if not artifact.reads_texts:
        return {}
    inputs = artifact.card.inputs
    length = f"{int(inputs['max_length']):,} token ids; longer texts lose their end"
    cut = inputs.get("truncated")
    if cut is not None:
        length += f", {percent(float(cut))} of the training texts did" if cut else ", no training text did"
    return {"tokenizer": f"tokenizer.json, sha256 {inputs['tokenizer']}", "maximum length": length}


def _by_width(groups: Sequence[StoredWeights], total: int, file_bytes: int) -> str:
    widths = sorted({g.bits for g in groups}, reverse=True)
    parts = []
    for bits in widths:
        same = [g for g in groups if g.bits == bits]
        count, n_bytes = sum(g.weights for g in same), sum(g.bytes for g in same)
        share = f"{percent(count / total)} " if len(widths) > 1 else " "
        parts.append(f"{share}in {bits} bits ({size(n_bytes)}, {percent(n_bytes / file_bytes)} of the file)")
    return (": " if len(widths) > 1 else "") + ", ".join(parts)
