"""Write the results of an audit into model folders: a summary in the ONNX file, and a model card.

Few audits do: what reads and describes model files is imported by those that do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fairpress.auditing.result import Audit
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.output import CARD, check_files, check_into, write_file, write_into

if TYPE_CHECKING:
    from fairpress.runtime.artifact import Artifact

UNKNOWN = "fp32"
"""The recipe of a card that does not name one."""


def embed_audit(model: str | os.PathLike[str], report: Audit, name: str, *, force: bool = False) -> Artifact:
    """Embed the audit summary of model `name` in a model folder's ONNX file, and return the artifact.

    Raises UserError where the folder belongs to another model (`require_same`), unless `force` is given.
    """
    from fairpress.auditing.output.summary import summary
    from fairpress.runtime.artifact import ONNX_FILE, Artifact
    from fairpress.runtime.onnx.metadata import embed

    content = summary(report, name)
    artifact = Artifact.load(model)
    require_same(model, artifact, report, name, force=force)
    artifact = replace(artifact, onnx=embed(artifact.onnx, content))
    write_into(model, ONNX_FILE, artifact.onnx, force=force)
    return artifact


def write_card(model: str | os.PathLike[str], report: Audit, name: str, *, force: bool = False) -> str:
    """Write a model card with the audit of model `name` into a model folder, as README.md; return its text.

    The format is Hugging Face's: YAML front matter whose model-index holds every group's rates, then the table. For
    predictions without a model folder, a path that ends in ``.md`` is the card itself and holds the audit alone.
    Raises UserError where the audit has no such model, the folder is not a model folder, it belongs to another model
    (`require_same`), or the file was not written by fairpress; `force` allows the last two.
    """
    from fairpress.reporting.formatting import size
    from fairpress.reporting.model_card import model_card
    from fairpress.reporting.weight_facts import text_facts, weight_facts
    from fairpress.runtime.artifact import Artifact

    if is_card_file(model):
        check_files({"the model card": model}, kinds={"the model card": ".md"}, force=force)
        text = model_card(report, name)
        write_file(model, text, kind=".md", force=force)
        return text
    artifact = Artifact.load(model)
    require_same(model, artifact, report, name, force=force)
    card = artifact.card
    shape = card.inputs.get("shape", ())
    task = "image-classification" if len(shape) == 3 else "tabular-classification"
    task = "text-classification" if artifact.reads_texts else task
    facts = {
        "recipe": card.recipe,
        "architecture": str(card.architecture.get("name", "")),
        "file": f"model.onnx, {size(artifact.size)}",
        **weight_facts(artifact.onnx),
        **text_facts(artifact),
        "sha256": artifact.digest,
        "training seed": str(card.seed),
    }
    data = str(card.data.get("name", ""))
    text = model_card(report, name, dataset=data, task=task, facts={k: v for k, v in facts.items() if v})
    write_into(model, CARD, text.encode(), force=force)
    return text


def check_model_outputs(embedded: Sequence[str], cards: Sequence[str], force: bool = False) -> None:
    """Raise UserError, before the audit, for model folders whose ONNX file or card must not be replaced."""
    if embedded:
        from fairpress.runtime.artifact import ONNX_FILE
    for folder in embedded:
        check_into(folder, ONNX_FILE, force=force)
    for path in cards:
        if not is_card_file(path):
            check_into(path, CARD, force=force)


def require_same(
    path: str | os.PathLike[str], artifact: Artifact, report: Audit, name: str, *, force: bool = False
) -> None:
    """Raise UserError where a model folder did not produce the predictions of model `name`.

    A table of `predict` records the file that produced them. Without such a record, a folder is refused when it has the name
    of another model of the audit, or when both its recipe and its name differ; `force` accepts it anyway.
    """
    names = [m.name for m in report.models]
    if name not in names:
        raise UserError(f"the audit has no model {name!r}." + did_you_mean(name, names))
    digest = next(m.digest for m in report.models if m.name == name)
    folder, recipe = os.path.basename(os.path.abspath(os.fspath(path))), artifact.card.recipe
    if force or (digest is not None and digest == artifact.digest):
        return
    known_names = {folder, recipe} - {UNKNOWN} if folder != name else set()
    if digest is None and (
        not known_names or name in known_names or not (recipe != UNKNOWN or folder in names)
    ):
        return
    why = (
        "its file did not produce these predictions"
        if digest is not None
        else f"its recipe is {recipe!r}"
        if recipe != UNKNOWN
        else f"its name is {folder!r}"
    )
    raise UserError(
        f"{os.fspath(path)} does not seem to be the model {name!r}: {why}; name the right folder, or use "
        "`force=True`."
    )


def card_file(path: str | os.PathLike[str]) -> str:
    """Return the path that a model card is written to."""
    return os.fspath(path) if is_card_file(path) else os.path.join(os.fspath(path), CARD)


def is_card_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a card is a separate file instead of the README.md of a model folder."""
    return os.fspath(path).lower().endswith(".md")
