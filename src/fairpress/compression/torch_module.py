"""Compress a user's own network: any module that torch.export supports, with any loader of batches."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fairpress.compression.apply import apply_steps, artifact
from fairpress.compression.batch_inputs import InputForm, NamedInput, PackedInputs, TokenInputs, form_facts
from fairpress.compression.data_loader import Collected, collect
from fairpress.compression.forward_types import OutputTypes, refuse_bfloat16
from fairpress.compression.held_out import change_sentence, value_facts, value_symptom
from fairpress.compression.module_forms import reads_one_tensor, reads_truth_values
from fairpress.compression.module_task import check_recipe, outputs_of_task, with_task
from fairpress.compression.output_choice import checked_kind, shaped_outputs
from fairpress.compression.quantization.float_layers import weights_in_float
from fairpress.compression.recipes import Recipe
from fairpress.compression.step import TrainedNetwork
from fairpress.compression.unwrapped_module import unwrap, unwrapped
from fairpress.compression.verification.checks import assert_unmodified
from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset, Kind
from fairpress.models.export import input_name
from fairpress.models.tracing import layer_at_fault
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import last_session_kept
from fairpress.training.constant_baseline import constant_symptom
from fairpress.training.data import tensors, verification_rows

TRIAL_ROWS = 64  # rows on which the network's output is checked


@dataclass(frozen=True, eq=False)
class UserModule:
    """An architecture defined by a module. It trains alone, and equals no other."""

    reads: ClassVar[Kind] = "table"
    version: ClassVar[int] = 1
    trains_alone: ClassVar[bool] = True

    module: nn.Module
    name: str

    def build(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        return copy.deepcopy(self.module)

    def model_dump(self, *, mode: str = "json") -> dict[str, Any]:
        return {"module": type(self.module).__module__}


@last_session_kept()
def compress_module(
    module: nn.Module,
    recipe: Recipe,
    data: Dataset | Iterable[Any],
    *,
    outputs: str | None = None,
    label_names: Sequence[str] | None = None,
    seed: int = 0,
    on_message: OnMessage | None = None,
) -> Artifact:
    """Return a compressed copy of a network, which is not changed.

    Parameters
    ----------
    module
        Maps a float32, uint8 or int64 tensor [rows, …], or several, to a logit per class [rows, classes], a number [rows] or
        [rows, 1], a logit per label [rows, labels] or an embedding [rows, length], alone or among other outputs.
    data
        A dataset, whose test rows are removed; or batches (x, y) or (x, y, groups), where y is the class index, a number, or
        0 and 1 for each of several labels; or dictionaries with labels. For embeddings x alone will do. x is a tensor, a
        tuple of tensors, or a dictionary of them by forward's parameters. Batches are read once, in order, and kept in
        memory: all of them if the recipe fine-tunes, otherwise the first 2,048 rows. One row in ten is used for validation,
        and one in ten for calibration, or half of the rows if the recipe does not fine-tune. Pass rows that the network was
        or may be trained on, never test rows.
    outputs
        What the network predicts: ``"classes"``, ``"number"``, ``"labels"`` (several at once, each present if its
        probability is at least ½) or ``"embedding"``; by default what the labels of the batches say, and what was assumed is
        issued as a `UserWarning` unless it is classes. Embeddings must be named. Recipes that fine-tune minimize the
        cross-entropy, the squared error, or the mean binary cross-entropy of the labels; an embedding has no labels, so that
        they need ``towards=baseline``.
    label_names
        The names of several labels; by default their positions, from 0.

    Wrappers (`nn.DataParallel`, `torch.compile`) are removed; weights that are computed in every call (masks, weight norm)
    are stored as their values. A network with one logit gets a second one, 0. Notes on the file, such as layers that stay
    in float, are issued as `UserWarning`.

    The file has one input. Of token ids with their attention mask, as transformers' tokenizers give them, it is
    ``input_ids``, and the mask is computed in the file. Several other inputs are beside one another in the columns of
    ``x``, which a warning describes. Of several outputs, ``logits`` (of embeddings ``embeddings``, ``pooler_output`` and
    the like) or the only matrix is taken, and a warning says which.

    Raises
    ------
    UserError
        The module cannot read the rows, has other outputs than the labels need, cannot be exported (the message names the
        layer) or is not deterministic, or a batch is invalid.
    VerificationError
        The finished file does not match the recipe.
    """
    requested = checked_kind(outputs)
    check_recipe(recipe, requested)
    trains = any(step.trains for step in recipe.steps)
    with assert_unmodified(module), torch.random.fork_rng(devices=[]):
        unwrapped_copy = unwrap(module)
        notes = [*unwrapped_copy.notes]
        labels: np.ndarray | None
        form: InputForm = None
        if isinstance(data, Dataset):
            network, dataset = reads_one_tensor(unwrapped_copy.module, None), data.development()
            labels, requested = dataset.labels, requested or dataset.task.outputs
        else:
            network, collected = _one_tensor(
                unwrapped_copy.module, data, trains, requested != "embedding", notes
            )
            dataset, labels, form = collected.dataset, collected.labels, collected.form
        labels = None if requested == "embedding" else labels
        trial = torch.from_numpy(np.ascontiguousarray(dataset.inputs[dataset.index("train")[:TRIAL_ROWS]]))
        types = OutputTypes()

        def call(module: nn.Module, rows: Tensor) -> Any:
            with types:
                return _call(module, rows)

        network, kind, width, chosen, assumed = shaped_outputs(network, call, trial, labels, requested)
        notes += [*chosen, *assumed]
        refuse_bfloat16(types)
        if on_message is not None and (length := _fixed_length(network, trial)):
            on_message(length)
        check_recipe(recipe, kind)
        dataset = with_task(
            dataset, data if isinstance(data, Dataset) else None, kind, width, label_names, notes
        )
        network = _without_hooks(network, verification_rows(dataset))
        state = {k: v.detach().clone() for k, v in network.state_dict().items()}
        architecture = UserModule(network, type(unwrapped(module)).__qualname__)
        first = TrainedNetwork(architecture, state, details=_pruned(state) if unwrapped_copy.pruned else {})
        (compressed,) = apply_steps([first], recipe, [dataset], [seed], on_message)
    notes += [text for text in [weights_in_float(compressed.details)] if text]
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=3)
    task = dataset.task
    card = ModelCard(
        target=task.target,
        classes=task.classes,
        positive=task.positive,
        architecture={"name": architecture.name, **architecture.model_dump()},
        inputs={
            "name": input_name(tensors(dataset, "train").inputs[:2]),
            "shape": list(dataset.inputs.shape[1:]),
            "dtype": str(dataset.inputs.dtype),
            "columns": list(dataset.input_names),
            **form_facts(form),
        },
        activation={"classes": "softmax", "labels": "sigmoid"}.get(task.outputs, "none"),
        outputs=outputs_of_task(task),
        data={"name": dataset.name, "config": dict(dataset.config), "fingerprint": dataset.fingerprint},
        seed=seed,
    )
    finished = artifact(card, None, recipe, compressed, dataset, seed)
    if finished.card.provenance.get("warnings"):  # only then it matters whether the network was no better
        compressed = replace(compressed, origin=_constant_baseline_facts(network, dataset, card))
        finished = artifact(card, None, recipe, compressed, dataset, seed)
    changes = change_sentence(finished.card.provenance["details"]["validation"], task.outputs)
    if changes and on_message is not None:
        on_message(changes)
    if not compressed.origin:  # else the network was no better when it was passed
        for sentence in finished.card.provenance.get("warnings", ()):
            warnings.warn(sentence, UserWarning, stacklevel=3)
    return finished


def _constant_baseline_facts(module: nn.Module, dataset: Dataset, card: ModelCard) -> dict[str, Any]:
    """Return a warning for the card if a network is no better on validation rows than a constant prediction."""
    rows, kind = tensors(dataset, "validation"), dataset.task.outputs
    if not len(rows.labels) or kind == "embedding":
        return {}
    chunks = [rows.inputs[at : at + TRIAL_ROWS] for at in range(0, len(rows.labels), TRIAL_ROWS)]
    outputs = torch.cat([_call(module, chunk) for chunk in chunks])
    train_labels = dataset.labels[dataset.index("train")]
    if kind == "classes":
        symptom = constant_symptom(
            outputs.argmax(1).numpy(), rows.labels.numpy(), dataset.task.classes, train_labels
        )
    else:
        symptom = value_symptom(
            value_facts(outputs.numpy(), outputs.numpy(), rows.labels.numpy(), card),
            rows.labels.numpy(),
            train_labels,
            kind,
        )
    return {} if symptom is None else {"warnings": [f"the network {symptom}"]}


def _one_tensor(
    module: nn.Module, batches: Iterable[Any], trains: bool, labelled: bool, notes: list[str]
) -> tuple[nn.Module, Collected]:
    """Return a network that reads one tensor, and the rows of a loader as such tensors.

    What was assumed goes to `notes`.

    Whole numbers stay integers where the network reads no floats.
    """
    pad_id = getattr(getattr(module, "config", None), "pad_token_id", None)
    collected = collect(batches, trains, pad_id if isinstance(pad_id, int) else None, labelled=labelled)
    dataset, form = collected.dataset, collected.form
    network = reads_one_tensor(module, form)
    if isinstance(form, PackedInputs):
        notes.append(
            f"the file has one input, x [rows, {dataset.inputs.shape[1]}], with the inputs side by side: "
            f"{form.describe()}"
        )
    if isinstance(form, TokenInputs) and form.masked and form.pad_id is None:
        notes.append(
            "no row of the batches is padded: the file takes every id for a token, and `predict` refuses padded rows; if "
            "there will be any, pass some here, or set config.pad_token_id of the network"
        )
    if (form is None or isinstance(form, NamedInput)) and dataset.inputs.dtype == np.float32:
        rows = torch.from_numpy(dataset.inputs[:2])
        if collected.numbers == "boolean" and _reads(network, rows != 0):
            return reads_truth_values(network), collected
        integral = collected.numbers == "integer" or bool((rows == rows.round()).all())
        if integral and not _reads(network, rows) and _reads(network, rows.long()):
            if collected.numbers != "integer" and not (dataset.inputs == np.round(dataset.inputs)).all():
                raise UserError(
                    "the network reads integers, and the batches have numbers that are not whole; give batches of integers."
                )
            dataset = replace(dataset, inputs=dataset.inputs.astype(np.int64))
    return network, replace(collected, dataset=dataset)


def _call(module: nn.Module, rows: Tensor) -> Any:
    """Return a network's output for rows. Raises UserError naming the layer that cannot read them."""
    try:
        with torch.no_grad():
            return module(rows)
    except Exception as error:
        layer = layer_at_fault(module, error.__traceback__)
        layer_text = "the network" if layer is None else f"layer {layer!r}"
        shape, dtype = "×".join(map(str, rows.shape[1:])), str(rows.dtype).removeprefix("torch.")
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        half = next((kind for kind in ("BFloat16", "Half") if kind in reason), None)
        if half is not None and rows.dtype == torch.float32:
            raise UserError(
                f"the network is compressed in float32, and at {layer_text} its forward converts to {half.lower()} by "
                "itself; leave out the conversion (.bfloat16(), .half(), .to(dtype) or autocast)."
            ) from error
        raise UserError(f"{layer_text} cannot read rows of {shape} numbers ({dtype}): {reason}.") from error


def _reads(module: nn.Module, rows: Tensor) -> bool:
    try:
        with torch.no_grad():
            module(rows)
    except Exception:  # a network may raise anything
        return False
    return True


def _fixed_length(module: nn.Module, rows: Tensor) -> str:
    """Return a sentence where a recurrent network, which reads sequences of any length, becomes a file for one; else ""."""
    if rows.dim() != 3 or not any(isinstance(child, nn.RNNBase) for child in module.modules()):
        return ""
    return (
        f"the file reads sequences of {rows.shape[1]} steps, as the batches have them, and of no other length: pad or cut "
        "them to it"
    )


def _without_hooks(module: nn.Module, rows: Tensor) -> nn.Module:
    """Return the network without hooks that do not change its output: an export would call them with non-tensors."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if not any(getattr(child, name) for child in module.modules() for name in hooks):
        return module
    bare = copy.deepcopy(module)
    for child in bare.modules():
        for name in hooks:
            getattr(child, name).clear()
    trial_rows = rows[:TRIAL_ROWS]
    try:
        return bare if torch.equal(_call(bare, trial_rows), _call(module, trial_rows)) else module
    except UserError:
        return module


def _pruned(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the share of zeros of a pruned network for its card, so that fine-tuning keeps them zero."""
    weights = [v for v in state.values() if v.is_floating_point() and v.dim() >= 2]
    total = sum(v.numel() for v in weights)
    return {"sparsity": sum(int((v == 0).sum()) for v in weights) / total} if total else {}
