"""Train networks from scratch, each stopped early on its own validation rows; small ones for tables many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from fairpress.core.card import ModelCard
from fairpress.core.config import parse
from fairpress.core.errors import MissingExtra, UserError, did_you_mean
from fairpress.core.values import resolve, spelling
from fairpress.datasets.again import facts
from fairpress.datasets.base import Dataset, Part
from fairpress.runtime.artifact import Artifact
from fairpress.training.doubts import constant_answer, no_better
from fairpress.training.fairness import Constrained

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairpress.models.registry import Architecture
    from fairpress.training.loop import Data


BATCH_SIZE = 128
ClassWeights = Literal["balanced"] | Mapping[str, float]


class FitConfig(Constrained):
    """How long and how fast to learn. Early stopping looks at the validation loss.

    Attributes
    ----------
    start
        ``"linear"``: from the logistic regression of the training rows (`linear_start`), which is the default of networks
        sized by their rows; they keep it where no epoch is better on validation rows. ``"random"``: from drawn weights.
    class_weights
        ``"balanced"``: every class weighs alike in the loss, however many rows it has; or class → weight, 1 for classes that
        are not named. Probabilities are then not calibrated to the base rates.
    batch_size
        128. Where the network is sized by the table's rows, 16 below 512 rows, 32 below 1,024, 64 below 2,048: ten steps an
        epoch or more.
    keep
        ``"best"``: the state of the epoch of lowest validation loss; ``"last"``: train for `max_epochs` and keep the
        last state, as who has no validation rows does. Under a constraint its violation on validation rows is added to
        their loss, or the loss alone would stop the training before the constraint has done anything.
    """

    start: Literal["linear", "random"] | None = None
    class_weights: (
        Literal["balanced"] | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None
    ) = None
    keep: Literal["best", "last"] = "best"
    max_epochs: int = Field(default=40, ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=1, le=1_000_000)
    learning_rate: float = Field(default=1e-3, gt=0, le=1_000)
    weight_decay: float = Field(default=1e-4, ge=0, le=1_000)
    patience: int = Field(default=8, ge=1, le=100_000)

    @field_validator("class_weights", mode="before")
    @classmethod
    def _balanced_or_by_class(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {spelling(name) or "": weight for name, weight in value.items()}
        if value not in (None, "balanced"):
            raise ValueError(f"{value!r} is neither balanced nor a weight for each class such as no=1,yes=4")
        return value

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the newer options where they are not used: the keys of older results hold nothing of them."""
        values: dict[str, Any] = handler(self)
        return {k: v for k, v in values.items() if v is not None or k not in ("start", "class_weights")}

    def settled(self, architecture: Architecture, rows: int) -> Self:
        """Return the config with what was left open chosen for an architecture and a table of so many rows."""
        sized = getattr(architecture, "widths", ()) is None
        changes: dict[str, Any] = {}
        if self.start is None:
            changes["start"] = "linear" if sized else "random"
        if self.batch_size is None:
            few = next((size for size in (16, 32, 64) if rows < 32 * size), BATCH_SIZE)
            changes["batch_size"] = few if sized else BATCH_SIZE
        return self.model_copy(update=changes)


class ImageFitConfig(FitConfig):
    """The same for networks that read images.

    Attributes
    ----------
    schedule
        Course of the learning rate (`schedule.Schedule`).
    flip, shift
        Mirror half of the images; move each by up to this share of its side.
    way
        Precision and memory order, by name (`ways.WAYS`). ``"auto"`` times a few steps of each and takes the
        fastest, so that two machines may come to slightly different weights; a name repeats.
    """

    max_epochs: int = Field(default=16, ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=2, le=1_000_000)
    weight_decay: float = Field(default=0.05, ge=0, le=1_000)
    patience: int = Field(default=6, ge=1, le=100_000)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    flip: bool = True
    shift: float = Field(default=0.0625, ge=0, le=0.5)
    way: Literal["auto", "fp32", "fp32-channels-last", "bf16", "bf16-channels-last"] = "auto"

    @field_validator("start")
    @classmethod
    def _no_start(cls, start: str | None) -> str | None:
        if start is not None:
            raise ValueError(
                "start is for tables; networks for images start from random or published weights"
            )
        return start


Fit = TypeVar("Fit", bound=FitConfig)


def training_config(architecture: Architecture, options: Mapping[str, Any] | None = None) -> FitConfig:
    """Return how an architecture is trained. Raises UserError for an unknown option or a wrong value."""
    kind = ImageFitConfig if architecture.reads == "images" else FitConfig
    config = parse(kind, dict(options or {}), "training")
    if config.batch_size is None and getattr(architecture, "widths", None) is not None:
        config = config.model_copy(update={"batch_size": BATCH_SIZE})
    return config


def fit(
    architecture: Architecture,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    config: FitConfig | None = None,
    progress: Callable[[str], None] | None = None,
    device: str = "cpu",
    checkpoints: Path | None = None,
) -> list[Artifact]:
    """Train network i on datasets[i] with seeds[i]: those that read tables as one batch, those that read images in turn.

    Each keeps the state of its own epoch of lowest validation loss, among the epochs before its patience
    ran out; networks do not influence one another. Equal arguments give equal artifacts (on images: with a `way`
    that is named).

    Parameters
    ----------
    config
        As `training_config` makes it.
    checkpoints
        A folder where the training of images keeps the state after each epoch, and goes on from it.

    Raises
    ------
    UserError
        NaN in inputs, a training part with one class, datasets of different shapes, a network that does not read
        such data, or groups that cannot be constrained.
    MissingExtra
        torch is not installed.
    """
    require_torch("Training a network")

    from fairpress.models.checkpoint import to_bytes
    from fairpress.models.export import export_many
    from fairpress.models.mlp import Mlp
    from fairpress.training.objective import constrain, grouped
    from fairpress.training.together import train_together

    where = resolve_device(device)
    for dataset in datasets:
        check_trainable(dataset)
        check_readable(architecture, dataset)
    if architecture.reads == "images":
        return _fit_images(architecture, datasets, seeds, config, progress, where, checkpoints)
    config = config or FitConfig()
    task = datasets[0].task
    classes = len(task.classes)
    rows = min(map(len, datasets))  # of whole tables: all folds of one have networks of one size
    config = config.settled(architecture, rows)
    if isinstance(architecture, Mlp):
        architecture = architecture.sized(rows, classes)
    weighted = config.class_weights
    train, objective = constrain(config, datasets, [tensors(d, "train", weighted) for d in datasets])
    validation = grouped(
        objective, datasets, [tensors(d, "validation", weighted) for d in datasets], "validation"
    )
    columns = train[0].inputs.shape[1]
    made = train_together(architecture, train, validation, classes, seeds, config, where, progress, objective)
    key = (architecture, classes)
    held = [rows_to_hold(d) for d in datasets]
    files = export_many(made.module, [n.state for n in made.networks], train[0].inputs[:2], key, held)
    out = []
    for dataset, seed, network, file, rows_seen in zip(
        datasets, seeds, made.networks, files, validation, strict=True
    ):
        card = ModelCard(
            target=task.target,
            classes=task.classes,
            positive=task.positive,
            architecture={"name": architecture.name, **architecture.model_dump(mode="json")},
            inputs={"name": "x", "shape": [columns], "columns": list(dataset.input_names)},
            data=data_of(dataset),
            seed=seed,
            provenance={
                "training": config.model_dump(mode="json"),
                "networks_in_batch": len(seeds),
                "device": str(where),
                "epochs": network.epochs,
                "best_epoch": network.best_epoch,
                "validation_loss": network.validation_loss,
                "validation_accuracy": network.validation_accuracy,
                **_doubts(dataset, decisions(made.module, network.state, rows_seen.inputs), weighted),
                "parameters": int(sum(p.numel() for p in made.module.parameters())),
                **({} if network.fairness is None else {"fairness": network.fairness}),
                "versions": {name: version(name) for name in ("torch", "onnx", "onnxscript")},
            },
        )
        out.append(Artifact(card, file, to_bytes(network.state)))
    return out


def _doubts(
    dataset: Dataset, decided: np.ndarray | None, class_weights: ClassWeights | None
) -> dict[str, Any]:
    """Return what a card says of one constant answer on validation rows, and a warning where the network is no better."""
    known, labels = (dataset.labels[dataset.index(part)] for part in ("train", "validation"))
    classes = dataset.task.classes
    weights = None if class_weights is None else weights_of_classes(dataset, class_weights)
    found = [] if decided is None else no_better(decided, labels, classes, known, weights)
    return {
        "constant_answer": constant_answer(labels, classes, known),
        **({} if weights is None else {"class_weights": dict(zip(classes, weights.tolist(), strict=True))}),
        **({"warnings": found} if found else {}),
    }


def decisions(module: nn.Module, state: Mapping[str, Tensor], inputs: Tensor) -> np.ndarray:
    """Return the class that a network with this state decides for each row of inputs [rows, …]."""
    import torch

    from fairpress.models.slots import Slots

    with torch.no_grad():
        logits: Tensor = Slots(module).call(dict(state), inputs)
        found: np.ndarray = logits.argmax(-1).numpy()
    return found


def _fit_images(
    architecture: Architecture,
    datasets: Sequence[Dataset],
    seeds: Sequence[int],
    config: FitConfig | None,
    progress: Callable[[str], None] | None,
    device: Any,
    checkpoints: Path | None,
) -> list[Artifact]:
    from fairpress.models.image_network import ImageNetwork
    from fairpress.training.fit_images import fit_image_network

    assert isinstance(architecture, ImageNetwork)
    config = ImageFitConfig() if config is None else config
    if not isinstance(config, ImageFitConfig):
        # Its defaults are those for tables; which of its values somebody chose can no longer be told.
        raise TypeError("networks that read images take an ImageFitConfig; training_config makes it")
    return [
        fit_image_network(
            architecture,
            dataset,
            seed,
            config,
            device,
            progress,
            None if checkpoints is None else checkpoints / str(i),
        )
        for i, (dataset, seed) in enumerate(zip(datasets, seeds, strict=True))
    ]


def data_of(dataset: Dataset) -> dict[str, Any]:
    """Return what a card says about its data."""
    return facts(dataset)


def tensors(dataset: Dataset, part: Part, class_weights: ClassWeights | None = None) -> Data:
    """Return one part's inputs and labels as tensors: numbers as float32; pixels as uint8, read when asked for.

    With `class_weights` every row has the weight of its class (`weights_of_classes`).
    """
    import torch

    from fairpress.training.loop import Data
    from fairpress.training.rows import Selected

    if dataset.inputs.dtype == np.uint8:
        index = dataset.index(part)
        made = Data(Selected(dataset.inputs, index), torch.from_numpy(dataset.labels[index]))
    else:
        rows = dataset.part(part)
        inputs = torch.from_numpy(np.ascontiguousarray(rows.inputs)).float()
        made = Data(inputs, torch.from_numpy(rows.labels))
    if class_weights is None:
        return made
    return replace(made, weights=torch.from_numpy(weights_of_classes(dataset, class_weights))[made.labels])


def weights_of_classes(dataset: Dataset, chosen: ClassWeights) -> np.ndarray:
    """Return the weight of each class [classes] float32, scaled so that training rows weigh 1 on average.

    Raises UserError for a class that the task does not have.
    """
    classes = dataset.task.classes
    counts = np.bincount(dataset.labels[dataset.index("train")], minlength=len(classes))
    if chosen == "balanced":
        weights = np.where(counts > 0, 1.0 / np.maximum(counts, 1), 1.0 / counts.sum())
    else:
        weights = np.ones(len(classes))
        for name, weight in chosen.items():
            found = resolve(name, classes)
            if found not in classes:
                raise UserError(
                    f"class_weights: {name!r} is not a class of {dataset.task.target!r}."
                    + did_you_mean(name, classes)
                )
            weights[classes.index(found)] = weight
    scaled: np.ndarray = (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)
    return scaled


def rows_to_hold(dataset: Dataset) -> Tensor:
    """Return rows on which files are held against their networks: of the calibration part, or of the training part."""
    from fairpress.models.faithful import some

    return some(tensors(dataset, "calibration" if len(dataset.index("calibration")) else "train").inputs)


def check_trainable(dataset: Dataset) -> None:
    """Refuse what training would turn into nonsense, before any time is spent."""
    if dataset.inputs.dtype.kind == "f":  # whole numbers are neither missing nor infinite
        bad = ~np.isfinite(dataset.inputs).reshape(len(dataset), -1)
        if bad.any():
            column = int(bad.sum(0).argmax())
            name = dataset.input_names[column] if dataset.input_names else f"input {column}"
            raise UserError(
                f"{dataset.name}: column {name!r} has {int(bad[:, column].sum())} missing or infinite values; "
                "fill them or drop those rows."
            )
    present = np.unique(dataset.labels[dataset.index("train")])
    if len(present) < 2:
        raise UserError(
            f"{dataset.name}: all training rows have one class of {dataset.task.target!r}; two are needed."
        )


def check_readable(architecture: Architecture, dataset: Dataset) -> None:
    """Refuse a network for tables on images, and the other way round."""
    from fairpress.models.registry import reading

    images = dataset.inputs.ndim == 4
    if images != (architecture.reads == "images"):
        what, other = ("images", "tables") if images else ("a table", "images")
        fitting = ", ".join(reading("images" if images else "table"))
        raise UserError(f"{architecture.name} reads {other} and {dataset.name!r} is {what}; take {fitting}.")


def resolve_device(name: str) -> Any:
    """Return the torch device; ``"auto"`` takes an accelerator where there is one."""
    import torch

    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {name!r} does not work here ({str(error).splitlines()[0]}); try --device cpu."
        ) from None


def device_of(origin: Mapping[str, Any]) -> Any:
    """Return the torch device that a card's provenance says its model was trained on, for further training.

    Raises UserError where this machine has no such device.
    """
    name = str(origin.get("device", "cpu"))
    try:
        return resolve_device(name)
    except UserError:
        raise UserError(
            f"the model was trained on {name}, which does not work here, and is trained further on the same kind of "
            "device; go on where it was trained, or train the model here."
        ) from None


def training_of(kind: type[Fit], origin: Mapping[str, Any]) -> Fit:
    """Return how a card's provenance says its model was trained. Raises UserError naming what is wrong there."""
    return parse(kind, origin.get("training", {}), "the training on the model's card")


def require_torch(what: str) -> None:
    """Raise MissingExtra unless the packages of the torch extra are there."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("torch", "torchao", "onnxscript", "safetensors")):
        raise MissingExtra(what, "torch")
