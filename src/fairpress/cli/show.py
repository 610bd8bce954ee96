"""`fairpress show`: a model's card, its weights by bit width, its mitigation and the audit in its ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, print_sentence, write_output
from fairpress.cli.mitigate import mitigation_text
from fairpress.core.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table


@app.command
def show(model: Path, /, *, json_: Annotated[bool, Parameter("--json")] = False) -> int:
    """Show what a model folder contains: recipe, size, data, weights by bit width, mitigation, and its embedded audit.

    Example: fairpress show int8/

    Parameters
    ----------
    model
        A model folder, or an ONNX file.
    json_
        Print JSON: {"card": …, "audit": …, "weights": …}, and "mitigation" where there is one.
    """
    from dataclasses import asdict

    from fairpress.auditing.output.summary import summary_text
    from fairpress.reporting.card_facts import card_facts
    from fairpress.reporting.weight_facts import text_facts, weight_facts
    from fairpress.runtime.artifact import Artifact
    from fairpress.runtime.onnx.metadata import embedded
    from fairpress.runtime.onnx.stored_weights import stored_weights

    artifact = None
    if model.suffix == ".onnx" and not model.exists():
        raise UserError(f"there is no file {model}; check the path.")
    if model.is_file() and model.suffix == ".onnx":
        data = model.read_bytes()
    else:
        artifact = Artifact.load(model)
        data = artifact.onnx
    try:
        summary = embedded(data)
        facts = weight_facts(data)
    except UserError as error:
        raise UserError(f"{model}: {error}") from None
    repair = None if artifact is None else artifact.mitigation
    if json_:
        card = None if artifact is None else json.loads(artifact.card.to_json())
        content = {"card": card, "audit": summary}
        content["weights"] = [asdict(group) for group in stored_weights(data)]
        if repair is not None:
            content["mitigation"] = json.loads(repair.to_json())
        write_output(json.dumps(content, indent=1))
        return 0
    if artifact is not None:
        facts = {**card_facts(artifact), **facts, **text_facts(artifact)}
        if repair is not None:
            rules = mitigation_text(repair.repair, artifact.card.threshold)
            facts["mitigation"] = "\n".join(
                (f"{repair.repair.method} by {'*'.join(repair.repair.by)}:", *rules, repair.warning)
            )
        for sentence in _warnings(artifact.card.provenance):
            print_sentence(f"warning: {sentence}")
    audited = (
        ["none is embedded; `fairpress audit --embed` adds one"] if summary is None else summary_text(summary)
    )
    print_line(_table({**facts, "audit": "\n".join(audited)}))
    return 0


def _warnings(provenance: Mapping[str, Any]) -> list[str]:
    """Return the warnings of a model's training, and of the training that it was compressed from."""
    return [*provenance.get("origin", {}).get("warnings", ()), *provenance.get("warnings", ())]


def _table(facts: Mapping[str, str]) -> Table:
    """Return a grid of the facts, a label in front of each; text wraps at blanks."""
    from rich.table import Table
    from rich.text import Text

    from fairpress.reporting.terminal import clean

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for label, text in facts.items():
        table.add_row(Text(label, style="bold"), Text("\n".join(map(clean, text.split("\n")))))
    return table
