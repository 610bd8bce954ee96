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
from fairpress.compression.batch_inputs import PackedInputs
from fairpress.compression.data_loader import collect
from fairpress.compression.module_forms import chosen_output, reads_one_tensor, two_logits
from fairpress.compression.quantization.float_layers import weights_in_float
from fairpress.compression.recipes import Recipe
from fairpress.compression.step import TrainedNetwork
from fairpress.compression.unwrapped_module import unwrap, unwrapped
from fairpress.compression.verification.checks import assert_unmodified
from fairpress.core.card import ModelCard
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset, Kind, Task
from fairpress.models.export import input_name
from fairpress.models.tracing import layer_at_fault
from fairpress.runtime.artifact import Artifact
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


def compress_module(
    module: nn.Module,
    recipe: Recipe,
    data: Dataset | Iterable[Any],
    *,
    seed: int = 0,
    on_message: OnMessage | None = None,
) -> Artifact:
    """Return a compressed copy of a network, which is not changed.

    Parameters
    ----------
    module
        Maps a float32, uint8 or int64 tensor [rows, …], or several, to a logit per class [rows, classes], alone or among
        other outputs.
    data
        A dataset, whose test rows are removed; or batches (x, y) or (x, y, groups), where y is the class index, or
        dictionaries with labels. x is a tensor, a tuple of tensors, or a dictionary of them by forward's parameters.
        Batches are read once, in order, and kept in memory: all of them if the recipe fine-tunes, otherwise the first
        2,048 rows. One row in ten is used for validation, and one in ten for calibration, or half of the rows if the
        recipe does not fine-tune. Pass rows that the network was or may be trained on, never test rows.

    Wrappers (`nn.DataParallel`, `torch.compile`) are removed; weights that are computed in every call (masks, weight norm)
    are stored as their values. A network with one logit gets a second one, 0. Notes on the file, such as layers that stay
    in float, are issued as `UserWarning`.

    The file has one input. Of token ids with their attention mask, as transformers' tokenizers give them, it is
    ``input_ids``, and the mask is computed in the file. Several other inputs are beside one another in the columns of
    ``x``, which a warning describes. Of several outputs, ``logits`` or the only [rows, classes] is taken, which one says.

    Raises
    ------
    UserError
        The module cannot read the rows, has no logit per class, cannot be exported (the message names the layer) or is not
        deterministic, or a batch is invalid.
    VerificationError
        The finished file does not match the recipe.
    """
    trains = any(step.trains for step in recipe.steps)
    with assert_unmodified(module), torch.random.fork_rng(devices=[]):
        unwrapped_copy = unwrap(module)
        notes = [*unwrapped_copy.notes]
        if isinstance(data, Dataset):
            network, dataset = reads_one_tensor(unwrapped_copy.module, None), data.development()
        else:
            network, dataset = _one_tensor(unwrapped_copy.module, data, trains, notes)
        network, classes = _with_logits(network, dataset, notes)
        if isinstance(data, Dataset):
            if classes != len(dataset.task.classes):
                raise UserError(
                    f"the network has {classes} outputs, but {dataset.name!r} has {len(dataset.task.classes)} classes; pass "
                    "data with a class for each output."
                )
        else:
            dataset = _with_classes(dataset, classes, notes)
        network = _without_hooks(network, verification_rows(dataset))
        state = {k: v.detach().clone() for k, v in network.state_dict().items()}
        architecture = UserModule(network, type(unwrapped(module)).__qualname__)
        first = TrainedNetwork(architecture, state, details=_pruned(state) if unwrapped_copy.pruned else {})
        (compressed,) = apply_steps([first], recipe, [dataset], [seed], on_message)
    notes += [text for text in [weights_in_float(compressed.details)] if text]
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=3)
    card = ModelCard(
        target=dataset.task.target,
        classes=dataset.task.classes,
        positive=dataset.task.positive,
        architecture={"name": architecture.name, **architecture.model_dump()},
        inputs={
            "name": input_name(tensors(dataset, "train").inputs[:2]),
            "shape": list(dataset.inputs.shape[1:]),
            "dtype": str(dataset.inputs.dtype),
            "columns": list(dataset.input_names),
        },
        data={"name": dataset.name, "config": dict(dataset.config), "fingerprint": dataset.fingerprint},
        seed=seed,
    )
    compressed = replace(compressed, origin=_constant_baseline_facts(network, dataset))
    finished = artifact(card, None, recipe, compressed, dataset, seed)
    if not compressed.origin:  # else the network was no better when it was passed
        for sentence in finished.card.provenance.get("warnings", ()):
            warnings.warn(sentence, UserWarning, stacklevel=3)
    return finished


def _constant_baseline_facts(module: nn.Module, dataset: Dataset) -> dict[str, Any]:
    """Return a warning for the card if a network is no better on validation rows than a constant prediction."""
    rows = tensors(dataset, "validation")
    if not len(rows.labels):
        return {}
    chunks = [rows.inputs[at : at + TRIAL_ROWS] for at in range(0, len(rows.labels), TRIAL_ROWS)]
    predicted = torch.cat([_call(module, chunk).argmax(1) for chunk in chunks])
    train_labels = dataset.labels[dataset.index("train")]
    symptom = constant_symptom(predicted.numpy(), rows.labels.numpy(), dataset.task.classes, train_labels)
    return {} if symptom is None else {"warnings": [f"the network {symptom}"]}


def _one_tensor(
    module: nn.Module, batches: Iterable[Any], trains: bool, notes: list[str]
) -> tuple[nn.Module, Dataset]:
    """Return a network that reads one tensor, and the rows of a loader as such tensors; what was assumed goes to `notes`.

    Whole numbers stay integers where the network reads no floats.
    """
    pad_id = getattr(getattr(module, "config", None), "pad_token_id", None)
    collected = collect(batches, trains, pad_id if isinstance(pad_id, int) else None)
    dataset, form = collected.dataset, collected.form
    network = reads_one_tensor(module, form)
    if isinstance(form, PackedInputs):
        notes.append(
            f"the file has one input, x [rows, {dataset.inputs.shape[1]}], with the inputs beside one another: "
            f"{form.describe()}"
        )
    if form is None and dataset.inputs.dtype == np.float32:
        rows = torch.from_numpy(dataset.inputs[:2])
        integral = collected.whole or bool((rows == rows.round()).all())
        if integral and not _reads(network, rows) and _reads(network, rows.long()):
            if not collected.whole and not (dataset.inputs == np.round(dataset.inputs)).all():
                raise UserError(
                    "the network reads integers, and the batches have numbers that are not whole; give batches of integers."
                )
            dataset = replace(dataset, inputs=dataset.inputs.astype(np.int64))
    return network, dataset


def _with_logits(module: nn.Module, dataset: Dataset, notes: list[str]) -> tuple[nn.Module, int]:
    """Return a network with a logit per class, and its number of classes.

    One logit (of a binary task) becomes two, 0 and that logit: their softmax is its sigmoid.

    Raises
    ------
    UserError
        The network cannot read the rows, or returns something else; the message states what to pass.
    """
    index = dataset.index("train")[:TRIAL_ROWS]
    rows = torch.from_numpy(np.ascontiguousarray(dataset.inputs[index]))
    module, note = chosen_output(module, _call(module, rows[:2]))
    notes += [] if note is None else [note]
    out = _call(module, rows[:2])
    if not isinstance(out, Tensor):
        raise UserError(
            f"the network returns {type(out).__name__}; it must return a tensor with a logit per class."
        )
    if out.is_complex() or not out.is_floating_point():
        raise UserError(
            f"the network returns {str(out.dtype).removeprefix('torch.')} numbers; it must return a logit per class, "
            "[rows, classes] float: remove argmax or a similar operation."
        )
    single = out.shape in ((2, 1), (2,))
    if not single and (out.dim() != 2 or out.shape[0] != 2 or out.shape[1] < 2):
        raise UserError(
            f"the network returns a tensor {tuple(out.shape)} for 2 rows; it must return a logit per class, [2, classes] "
            "with two classes or more, or one logit for the second of two. Wrap it in a module that does."
        )
    even_rows = rows[: len(rows) - len(rows) % 2]
    with torch.no_grad():
        outputs = torch.cat([_call(module, part) for part in even_rows.split(2)]).float()
    if bool((outputs >= 0).all() and (outputs <= 1).all()) and (
        (single and outputs.unique().numel() > 1)
        or (not single and bool(torch.allclose(outputs.sum(1), torch.ones(len(outputs)), atol=1e-3)))
    ):
        raise UserError(
            f"the network returns {'a probability' if single else 'probabilities'} (all lie in 0 … 1"
            f"{'' if single else ' and sum to 1'}), but logits are needed: remove its last "
            f"{'sigmoid' if single else 'softmax'}, or add {'torch.logit' if single else 'torch.log'} after it."
        )
    return (two_logits(module), 2) if single else (module, int(out.shape[1]))


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
        raise UserError(f"{layer_text} cannot read rows of {shape} numbers ({dtype}): {reason}.") from error


def _reads(module: nn.Module, rows: Tensor) -> bool:
    try:
        with torch.no_grad():
            module(rows)
    except Exception:  # a network may raise anything
        return False
    return True


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


def _with_classes(dataset: Dataset, classes: int, notes: list[str]) -> Dataset:
    present = np.unique(dataset.labels)
    if present[0] < 0 or present[-1] >= classes:
        invalid, shown = (
            present[-1] if present[-1] >= classes else present[0],
            ", ".join(map(str, present[:8])),
        )
        if len(present) == classes:
            remedy = (
                " Labels must be class indices from 0: pass their positions in the order of the outputs, such as "
                + (
                    f"y - {present[0]}."
                    if present[-1] - present[0] == classes - 1 and present[0] > 0
                    else "torch.unique(y, return_inverse=True)[1]."
                )
            )
        else:
            remedy = f" Pass a network with an output for each class; the loader's labels are {shown}."
        raise UserError(
            f"the loader has the label {invalid}, but the network has {classes} outputs (labels 0 … {classes - 1}).{remedy}"
        )
    if len(present) < classes:
        shown = ", ".join(map(str, present[:8])) + (", …" if len(present) > 8 else "")
        notes.append(
            f"the network has {classes} outputs, but the loader's {len(dataset)} rows have the labels {shown} only: if the "
            "outputs are features, not classes, the last layer is missing; otherwise pass rows of every class."
        )
    task = Task("label", tuple(map(str, range(classes))), "1" if classes == 2 else None)
    return replace(dataset, task=task)


def _pruned(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the share of zeros of a pruned network for its card, so that fine-tuning keeps them zero."""
    weights = [v for v in state.values() if v.is_floating_point() and v.dim() >= 2]
    total = sum(v.numel() for v in weights)
    return {"sparsity": sum(int((v == 0).sum()) for v in weights) / total} if total else {}
