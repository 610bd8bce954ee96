"""Export a model folder to ExecuTorch: fp32, or int8 through the same graph as the ONNX file, lowered to XNNPACK."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.compression.apply import float_network
from fairpress.compression.executorch.counterpart import quantization_of
from fairpress.compression.recipes import Recipe
from fairpress.core.errors import UserError
from fairpress.core.files import write_together
from fairpress.core.output import check_files
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset, Part
from fairpress.models.exporter_warnings import copy_graph
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.executorch import require
from fairpress.runtime.decision_rule import decide
from fairpress.runtime.probabilities import score
from fairpress.training.device import require_torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

    from fairpress.compression.executorch.verify import Compute
    from fairpress.compression.step import TrainedNetwork
    from fairpress.compression.steps.quantize import Quantize

SUFFIX = ".pte"
PACKAGES = ("executorch", "torch", "torchao")
# Memory for inputs and outputs is reserved for the largest batch.
TABLE_BATCH, IMAGE_BATCH, MAX_BATCH = 256, 32, 4096
CHECKED_ROWS = 1_000
MIN_INTEGER_SHARE = 0.1


@dataclass(frozen=True)
class ExecuTorchExport:
    """A program of ExecuTorch, and what belongs beside it.

    Attributes
    ----------
    program
        The bytes of the ``.pte`` file.
    model
        The exported model, by whose card the settings beside the program are written.
    tokenizer
        The tokenizer.json of a model that reads texts.
    report
        Bytes, shares of the weights at each width, operators on XNNPACK and on portable kernels, the largest batch, and the
        results of the checks.
    """

    program: bytes = field(repr=False)
    model: Artifact = field(repr=False)
    tokenizer: bytes | None = field(repr=False)
    report: Mapping[str, Any]

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the program to a ``.pte`` file, with its settings, measurements and tokenizer beside it.

        Raises
        ------
        UserError
            A file exists and `force` is not set, or cannot be written.
        """
        from fairpress.compression.executorch.settings import as_yaml, settings_of

        target = Path(path)
        check_targets(target, texts=self.tokenizer is not None, force=force, option="force=True")
        companions = companions_of(target, texts=self.tokenizer is not None)
        name = companions["its tokenizer"].name if self.tokenizer is not None else None
        contents = {
            companions["its settings"]: as_yaml(settings_of(self.model.card, name)).encode(),
            companions["its report"]: _json(self.report),
            **({companions["its tokenizer"]: self.tokenizer} if self.tokenizer is not None else {}),
            target: self.program,
        }
        write_together({file: _writer(content) for file, content in contents.items()})
        return target


def companions_of(target: Path, *, texts: bool) -> dict[str, Path]:
    """Return the files that are written beside a program, by what they are."""
    out = {
        "its settings": target.with_suffix(".model.yaml"),
        "its report": target.with_suffix(".report.json"),
    }
    return {**out, "its tokenizer": target.with_suffix(".tokenizer.json")} if texts else out


def check_targets(
    target: Path, *, texts: bool, inputs: Any = (), force: bool = False, option: str = "--force"
) -> None:
    """Raise UserError, before any work, if a program cannot or must not be written; `option` replaces files."""
    if target.suffix != SUFFIX:
        raise UserError(
            f"{target}: an export writes a program of ExecuTorch; name a file that ends in {SUFFIX}."
        )
    files = {"--out": target, **companions_of(target, texts=texts)}
    if not force:
        for file in files.values():
            if file.exists():
                raise UserError(f"{file} already exists; choose another file, or replace it with {option}.")
    check_files(files, inputs=inputs, force=True)


def export_program(
    base: Artifact,
    recipe: Recipe,
    dataset: Dataset,
    *,
    max_batch: int | None = None,
    seed: int = 0,
    on_message: OnMessage | None = None,
) -> ExecuTorchExport:
    """Export a model, and check the program on validation rows (without these: on calibration rows).

    Parameters
    ----------
    base
        An artifact with its float weights.
    recipe
        ``fp32``, or ``int8`` with those of its options that XNNPACK has (`counterpart.quantization_of`).
    max_batch
        The program reads 1 … `max_batch` rows a call; by default 256 for tables and 32 for images, or 1 where ExecuTorch
        cannot lower more. Texts are read one at a time, of any length: XNNPACK has one free size.
    seed
        Seed of the choice of calibration rows.

    Raises
    ------
    UserError
        The model cannot be exported, or the recipe has no counterpart.
    EquivalenceError, VerificationError
        The program does not compute what the network does.
    MissingExtra
        torch or ExecuTorch is not installed.
    """
    require_torch("Exporting a network")
    require("Exporting to ExecuTorch")
    step = quantization_of(recipe)
    if base.mitigation is not None:
        raise UserError(
            "this model has a mitigation, which a program of ExecuTorch does not have; export the model without it."
        )
    if max_batch is not None and not 1 <= max_batch <= MAX_BATCH:
        raise UserError(f"`max_batch={max_batch}` is out of range; use 1 to {MAX_BATCH:,} rows.")
    if base.reads_texts and max_batch not in (None, 1):
        raise UserError(
            "a program that reads texts takes them one at a time, of any length, because XNNPACK has one free size; leave "
            "max_batch out."
        )
    if base.card.activation != "softmax":
        raise UserError(
            f"this model's outputs are turned into probabilities by {base.card.activation!r}; only classifiers with a logit "
            "for each class are exported."
        )
    if base.weights is None:
        raise UserError(
            f"this model ({base.card.recipe}) has no float weights; export its baseline with --recipe {base.card.recipe}."
        )
    from fairpress.compression.executorch.lower import lower
    from fairpress.compression.executorch.verify import open_for_check, runner
    from fairpress.compression.executorch.weight_shares import integer_share, shares_at_bits
    from fairpress.training.data import tensors

    network, development = float_network(base, dataset)
    graph, facts = _graph(network, step, development, seed)
    shares = shares_at_bits(graph)
    if step is not None and integer_share(shares) < MIN_INTEGER_SHARE:
        raise UserError(
            f"{1 - integer_share(shares):.1%} of the network's weights would stay in float, because XNNPACK's quantizer "
            "takes the weights of convolutions and linear layers only; export fp32."
        )
    if on_message is not None:
        on_message("lowering the graph")
    example = tensors(development, "train").inputs[:1]
    length = base.card.inputs.get("max_length")
    largest = max_batch or {"table": TABLE_BATCH, "images": IMAGE_BATCH}.get(dataset.kind, 1)
    try:
        lowered = lower(graph, example, largest, length)
    except UserError:
        if largest == 1 or max_batch is not None:
            raise
        largest = 1
        lowered = lower(graph, example, largest, length)
    compute = runner(open_for_check(lowered.data), largest)
    if on_message is not None:
        on_message("comparing the program with the network")
    report = {
        "recipe": str(recipe) if base.card.recipe == "fp32" else f"{base.card.recipe}+{recipe}",
        "bytes": len(lowered.data),
        "bytes_before": base.size,
        "shares_at_bits": shares,
        "operators": {"xnnpack": dict(lowered.delegated), "portable": dict(lowered.portable)},
        "layers": lowered.layers,
        "max_batch": largest,
        "planned_bytes": lowered.planned_bytes,
        "model": base.digest,
        "quantization": facts,
        "check": _check(graph, network, development, compute, step is not None),
        "validation": _decisions(base, network, development, compute),
        "versions": {name: version(name) for name in PACKAGES},
    }
    return ExecuTorchExport(lowered.data, base, base.tokenizer, report)


def _graph(
    network: TrainedNetwork, step: Quantize | None, dataset: Dataset, seed: int
) -> tuple[GraphModule, dict[str, Any]]:
    """Return the graph to lower, and facts on its calibration."""
    from fairpress.compression.executorch.xnnpack_graph import quantize_for_xnnpack
    from fairpress.compression.quantization.batch_quantizer import calibrate_many
    from fairpress.compression.quantization.float_layers import float_layers_note
    from fairpress.compression.steps.quantize import quantizer_for
    from fairpress.models.export import load_state

    engine = quantizer_for(network, dataset)
    if step is None:
        return load_state(copy_graph(engine.folded), engine.fold(network.state)), {}
    prepared, states = engine.prepare(step.scheme), [network.state]
    rows, sampling = step.calibration_rows([dataset], [seed])
    options, more = step.calibration_options(engine, states, rows, [dataset], [seed])
    (calibrated,) = calibrate_many(engine, prepared, states, rows, **options)
    graph, integer_layers = quantize_for_xnnpack(
        engine.folded, prepared, calibrated.state, rows[0], calibrated.activations
    )
    facts = {
        "calibration_rows": len(rows[0]),
        "weight_ranges": calibrated.weights,
        "activation_ranges": calibrated.activations,
        **sampling[0],
        **more[0],
        **calibrated.facts,
        **float_layers_note(engine.folded, integer_layers, prepared.float_layers),
    }
    return graph, facts


def _check(
    graph: GraphModule, network: TrainedNetwork, dataset: Dataset, compute: Compute, quantized: bool
) -> dict[str, Any]:
    """Compare a program with the converted graph, or with the network where nothing is quantized."""
    from fairpress.compression.executorch.verify import check_float, check_quantized
    from fairpress.compression.quantized_graph.row_chunks import take
    from fairpress.models.equivalence import reference
    from fairpress.models.initialize import initialize
    from fairpress.training.data import tensors, verification_rows

    if quantized:
        return check_quantized(
            compute, graph, take(tensors(dataset, _part(dataset)).inputs, slice(CHECKED_ROWS))
        )
    expected = reference(initialize(network.architecture, dataset), network.state, verification_rows(dataset))
    check_float(compute, expected)
    return {"rows": len(expected.rows), "tolerance": "float rounding"}


def _part(dataset: Dataset) -> Part:
    """Return the part whose rows a program is compared on: never test rows."""
    return "validation" if len(dataset.index("validation")) else "calibration"


def _decisions(base: Artifact, network: TrainedNetwork, dataset: Dataset, compute: Compute) -> dict[str, Any]:
    """Compare decisions of a program with those of the model's own file on rows that no test uses."""
    from fairpress.compression.quantized_graph.row_chunks import by_chunk, take
    from fairpress.training.data import tensors

    card, part = base.card, _part(dataset)
    index = dataset.index(part)[:CHECKED_ROWS]
    if not len(index):
        return {"rows": 0}
    rows = take(tensors(dataset, part).inputs, slice(CHECKED_ROWS))
    logits = by_chunk(lambda chunk: torch_array(compute(chunk)), rows).numpy()
    if logits.shape[1:] != (len(card.classes),):
        raise UserError(
            f"this model has {logits.shape[1]} outputs for {len(card.classes)} classes; only classifiers with a logit for "
            "each class are exported."
        )
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected, _ = score(base, dataset.inputs, index)
    decided = [
        decide(p, card.classes, card.positive, card.threshold)
        for p in (expected, shifted / shifted.sum(axis=1, keepdims=True))
    ]
    labels = dataset.labels[index]
    return {
        "rows": len(index),
        "part": part,
        "accuracy_before": float((decided[0] == labels).mean()),
        "accuracy": float((decided[1] == labels).mean()),
        "flips": int((decided[0] != decided[1]).sum()),
    }


def torch_array(values: np.ndarray) -> Tensor:
    """Return an array as a tensor."""
    import torch

    return torch.from_numpy(values)


def _json(report: Mapping[str, Any]) -> bytes:
    return (json.dumps(report, indent=1) + "\n").encode()


def _writer(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)
