"""A model's card in a few labelled lines: what it is, what it predicts, what it reads, what it was made from."""

from __future__ import annotations

from collections.abc import Iterator

from fairpress.core.card import ModelCard
from fairpress.reporting.formatting import size
from fairpress.runtime.artifact import Artifact

MAX_NAMES = 8
DIGITS = 12
"""Characters of a digest that are shown; `--json` has all."""


def card_facts(artifact: Artifact) -> dict[str, str]:
    """Return the facts of a model's card and file by label, for people; ``fairpress show --json`` has every value."""
    card = artifact.card
    facts = {
        "model": f"{card.architecture['name']}, {size(len(artifact.onnx))}, sha256 {artifact.digest[:DIGITS]}…",
        "recipe": _recipe(card),
        "predicts": _predicts(card),
        "reads": _reads(card),
        "data": _data(card),
        "training": "; ".join(_training(card)),
    }
    return {label: text for label, text in facts.items() if text}


def _recipe(card: ModelCard) -> str:
    text = card.recipe
    if card.baseline is not None:
        text += f", compressed from the model with sha256 {card.baseline[:DIGITS]}…"
    sparsity = card.provenance.get("details", {}).get("sparsity")
    return text + (f"; {100 * sparsity:.0f} % of the weights are 0" if sparsity else "")


def _predicts(card: ModelCard) -> str:
    if card.output_kind == "number":
        return f"{card.target}, a number"
    if card.output_kind == "embedding":
        return f"an embedding of {card.outputs['size']:,} numbers"
    if card.output_kind == "labels":
        return f"{card.target}, several labels of a row: {_names(card.outputs['names'])}"
    text = f"{card.target}: {_names(card.classes)}"
    if card.positive is None:
        return text
    decision = f", from a score of {card.threshold:g} on" if len(card.classes) == 2 else ""
    return f"{text}; positive class {card.positive}{decision}"


def _reads(card: ModelCard) -> str:
    inputs = card.inputs
    columns, shape = inputs.get("columns"), inputs.get("shape")
    if columns:
        return f"{len(columns):,} columns: {_names(columns)}"
    if inputs.get("kind") == "text":
        return "texts"
    if not shape:
        return ""
    dimensions = " × ".join(f"{n:,}" for n in shape)
    return f"{dimensions} {inputs.get('dtype') or 'float32'} values" + (
        f" ({inputs['preparation']})" if inputs.get("preparation") else ""
    )


def _data(card: ModelCard) -> str:
    name = card.data.get("name")
    if name is None:
        return ""
    config = card.data.get("config", {})
    text = str(name)
    if config.get("folds", 1) > 1:
        text += f", fold {config.get('fold', 0)} of {config['folds']}"
    fingerprint = card.data.get("fingerprint")
    return text + (f", fingerprint {fingerprint[:DIGITS]}…" if fingerprint else "")


def _training(card: ModelCard) -> Iterator[str]:
    """Yield what is known of the training of this model, or of the one that it was compressed from."""
    if card.seed is not None:
        yield f"seed {card.seed}"
    epochs, best = card.provenance.get("epochs"), card.provenance.get("best_epoch")
    if epochs is not None:
        yield f"{epochs} epochs" + (f", the best was {best}" if best not in (None, epochs) else "")
    accuracy = card.provenance.get("validation_accuracy")
    if accuracy is None:
        accuracy = card.provenance.get("details", {}).get("validation", {}).get("accuracy")
    if accuracy is not None:
        yield f"accuracy on validation rows {100 * accuracy:.1f} %"


def _names(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(map(str, names[:MAX_NAMES])) + more
