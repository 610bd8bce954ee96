"""`fairpress show`: a model's card, its weights by bit width, its mitigation and the audit in its ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fairpress.cli.app import app, print_line
from fairpress.cli.mitigate import mitigation_text
from fairpress.core.errors import UserError


@app.command
def show(model: Path, /, *, json_: Annotated[bool, Parameter("--json")] = False) -> int:
    """Show the card of a model folder, its weights by bit width, its mitigation, and the audit embedded in its ONNX file.

    Example: fairpress show int8/

    Parameters
    ----------
    model
        A model folder, or an ONNX file.
    json_
        Print JSON: {"card": …, "audit": …, "weights": …}.
    """
    from dataclasses import asdict

    from fairpress.auditing.output.summary import summary_text
    from fairpress.reporting.weight_facts import text_facts, weight_facts
    from fairpress.runtime.artifact import Artifact
    from fairpress.runtime.onnx.metadata import embedded
    from fairpress.runtime.onnx.stored_weights import stored_weights

    repair, threshold, facts = None, 0.5, {}
    if model.suffix == ".onnx" and not model.exists():
        raise UserError(f"there is no file {model}; check the path.")
    if model.is_file() and model.suffix == ".onnx":
        card, data = None, model.read_bytes()
    else:
        artifact = Artifact.load(model)
        card, data, repair = artifact.card.to_json(), artifact.onnx, artifact.mitigation
        threshold, facts = artifact.card.threshold, text_facts(artifact)
    try:
        summary = embedded(data)
        facts = {**weight_facts(data), **facts}
    except UserError as error:
        raise UserError(f"{model}: {error}") from None
    if json_:
        content = {"card": None if card is None else json.loads(card), "audit": summary}
        content["weights"] = [asdict(group) for group in stored_weights(data)]
        if repair is not None:
            content["mitigation"] = json.loads(repair.to_json())
        print(json.dumps(content, indent=1))  # noqa: T201
        return 0
    if card is not None:
        print(card)  # noqa: T201
        origin = json.loads(card).get("provenance", {})
        for sentence in (*origin.get("origin", {}).get("warnings", ()), *origin.get("warnings", ())):
            print_line(f"warning: {sentence}", markup=False, soft_wrap=True)
    for name, fact in facts.items():
        print_line(f"{name}: {fact}", markup=False, soft_wrap=True)
    if repair is not None:
        by = "*".join(repair.repair.by)
        for line in (
            f"{repair.repair.method} by {by}:",
            *mitigation_text(repair.repair, threshold),
            repair.warning,
        ):
            print_line(line, markup=False, soft_wrap=True)
    for line in (
        ["no audit is embedded; `fairpress audit --embed` adds one"]
        if summary is None
        else summary_text(summary)
    ):
        print_line(line, markup=False)
    return 0
