"""`fairpress train`: a dataset in, a model folder out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, show_audit, split_list
from fairpress.cli.progress import progress_callback
from fairpress.cli.written import print_next
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.seeds import checked_seed
from fairpress.core.threads import checked_threads

if TYPE_CHECKING:
    from fairpress.datasets.dataset import Dataset


@app.command
def train(
    model: str,
    /,
    *,
    data: str,
    out: Path,
    by: str = "",
    target: str | None = None,
    image_size: int | None = None,
    test_share: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weights: Path | None = None,
    pretrained: bool = False,
    backbone: str | None = None,
    max_length: int | None = None,
    vocabulary: int | None = None,
    layers: int | None = None,
    width: int | None = None,
    seed: int = 0,
    device: str | None = None,
    threads: int | None = None,
    precision: Literal["fp32", "fp32-channels-last", "bf16", "bf16-channels-last", "processor", "fastest"]
    | None = None,
    method: Literal["penalty", "fairalm"] | None = None,
    constraint: Literal["demographic_parity", "equal_opportunity", "predictive_equality", "equalized_odds"]
    | None = None,
    strength: float | None = None,
    step: float | None = None,
    variant: Literal["paper", "celeba"] | None = None,
    hold: bool | None = None,
    class_weights: str | None = None,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Train a network and write its model folder. The same command resumes an interrupted training on images or texts.

    The size of mlp depends on the rows of the table: 32 and 32 hidden units below 2,000 rows, 64 and 64 below 20,000, 128
    and 64 above.

    Training of mlp starts from a logistic regression on the training rows.

    The model text is a small transformer encoder with a byte-pair tokenizer of its own, trained on the training rows.

    Training stops after 8 epochs (images 6, texts 2) without a lower validation loss, and keeps the best epoch.

    With fewer than 500 validation rows, mlp keeps the logistic regression unless an epoch is better by a standard error.

    Test rows are never used.

    Examples:

    fairpress train mlp --data compas --out base/

    fairpress train resnet18 --data utkface --target sex --by race,age --image-size 64 --out base/

    fairpress train text --data afrisenti --by language --out base/

    fairpress train text --backbone my-bert/ --data hatecheck --out tuned/

    fairpress train mlp --data loans.yaml --class-weights balanced --out base/

    fairpress train mlp --data compas --method fairalm --constraint equal_opportunity --by race --out fair/

    Parameters
    ----------
    model
        An architecture: mlp for tables; for images resnet18, resnet50, mobilenet_v2, efficientnet_b0, squeezenet1_1,
        vit_small_patch16_224, deit_tiny_patch16_224, swin_tiny_patch4_window7_224, convnext_tiny; for texts text.
    data
        A dataset's name, or a YAML file that describes a table, images or texts.
    out
        The model folder.
    by
        Sensitive attributes, comma-separated: print the accuracy of each group on validation rows.
        With --method, the one attribute or intersection, such as 'sex*race', to constrain.
    target
        The target, where the dataset has several: utkface has sex, race, age_group.
    image_size
        Side in pixels of the square to which images are resized (64).
    test_share
        Share of the rows in the test part; small groups need many.
    epochs
        Maximum number of epochs (mlp 40, images 16, texts 4, a backbone 6); training stops early.
    batch_size
        Rows per step (mlp 128, down to 16 for tables below 2,048 rows; images and texts 64; a backbone 32).
    learning_rate
        Peak learning rate (0.001; a backbone 0.00005).
    weights
        A safetensors file of weights to start from: a model folder's, or one with torchvision's or timm's names.
    pretrained
        Start from weights published by timm, which it downloads and caches: vit, deit, swin and convnext.
    backbone
        For text: fine-tune a Hugging Face model, a folder with config.json, model.safetensors and its tokenizer, or the name
        minilm.
    max_length
        For text: the most tokens of a text (128); longer texts lose their end.
    vocabulary
        For text: the most pieces of the tokenizer (16000).
    layers
        For text: number of transformer blocks (2).
    width
        For text: width of the network, a multiple of its 4 heads (128).
    seed
        Training seed.
    device
        cpu, cuda, or auto. By default the CPU for tables; for images and texts a GPU, if available.
    threads
        Threads within an operator; by default one for each core. Another number gives slightly different weights.
    precision
        For images and texts: fp32 (texts), fp32-channels-last (images), bf16, bf16-channels-last; processor: bf16 if it has
        instructions for it; fastest: timed here, so that another run may give other weights.
    method
        Constrain differences between groups in training: penalty or fairalm (an augmented Lagrangian).
        Early stopping then uses the validation loss plus the largest difference.
    constraint
        Constrained difference: demographic_parity, equal_opportunity, predictive_equality, equalized_odds.
    strength
        Weight of the penalty (10).
    step
        Dual step of fairalm (0.05; 20 in its variant celeba).
    variant
        fairalm as in the paper, or as in its authors' experiments on celeba.
    hold
        The control of fairalm: the multipliers stay 0.
    class_weights
        balanced: every class has the same total weight in the loss; or a weight per class, such as no=1,yes=4. The scores
        are then not calibrated to the base rate.
    force
        Replace an existing model folder.
    """
    from fairpress import api
    from fairpress.runtime.artifact import check_target
    from fairpress.training.config import training_config
    from fairpress.training.data import check_readable, weights_of_classes
    from fairpress.training.device import require_torch

    require_torch("Training a network")
    from fairpress.models import registry
    from fairpress.training.checkpoints import clear

    check_target(out, inputs=[p for p in (Path(data), weights) if p is not None and p.is_file()], force=force)
    checked_seed(seed)
    if threads is not None:
        checked_threads(threads)
    options = _given(
        weights=None if weights is None else str(weights),
        pretrained=pretrained or None,
        max_length=max_length,
        vocabulary=vocabulary,
        layers=layers,
        width=width,
    )
    if backbone is not None:
        model, options = _fine_tuned(model, backbone, options)
    training = _given(
        max_epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        method=method,
        constraint=constraint,
        strength=strength,
        step=step,
        variant=variant,
        hold=hold,
        class_weights=None if class_weights is None else _weights(class_weights),
        way=precision,
    )
    if method is not None:
        if len(split_list(by)) != 1:
            raise UserError(
                "--method needs one attribute, such as --by race, or an intersection such as --by 'sex*race'."
            )
        training["by"] = split_list(by)[0]
    architecture = registry.get(model, **options)
    if precision is not None:
        _check_precision(architecture.reads, precision)
    training_config(architecture, training)
    dataset = api.load_dataset(data, **_given(target=target, size=image_size, test_share=test_share))
    check_readable(architecture, dataset)
    if class_weights is not None:
        weights_of_classes(dataset, training["class_weights"])
    attributes = [
        "*".join(_attribute(dataset, n.strip()) for n in name.split("*")) for name in split_list(by)
    ]
    if method is not None:
        training["by"] = attributes[0]
    unfinished = out.resolve().with_name(f".{out.resolve().name}.training")
    artifact = api.train(
        model,
        dataset,
        seed=seed,
        options=options,
        training=training,
        device=device,
        threads=threads,
        checkpoints=unfinished,
        on_message=progress_callback(),
    )
    folder = artifact.save(out, force=force)
    clear(unfinished)
    provenance = artifact.card.provenance
    constant = provenance["constant_answer"]
    print_line(
        f"Written: {folder}: {artifact.size:,} bytes, {provenance['epochs']} epoch{'s' * (provenance['epochs'] != 1)}, ",
        end="",
        markup=False,
    )
    print_line(f"accuracy on validation rows {provenance['validation_accuracy']:.3f} ", end="", markup=False)
    print_line(f"(always {constant['class']}: {constant['accuracy']:.3f})", markup=False)
    if provenance["best_epoch"] == 0:
        print_line(
            "no epoch was better on validation rows than the initial logistic regression",
            markup=False,
        )
    if class_weights is not None:
        print_line("trained with class weights: scores are not calibrated to the base rate", markup=False)
    for warning in provenance.get("warnings", ()):
        sys.stderr.write(f"warning: {warning}\n")
    left_out = provenance.get("fairness", {}).get("not_constrained")
    if left_out:
        named = ", ".join(f"{group} ({rows})" for group, rows in left_out.items())
        print_line(f"not constrained, too few training rows: {named}", markup=False)
    if attributes:
        table = api.predict({out.resolve().name: artifact}, dataset.development(), part="validation")
        print_line("on validation rows, which also selected the epoch; audit on test rows:", markup=False)
        show_audit(api.audit(table, by=attributes, positive=dataset.task.positive))
    print_next(f"fairpress compress {shlex.quote(str(folder))} --recipe int8 --out int8/")
    return 0


def _fine_tuned(model: str, backbone: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and options of the architecture that fine-tunes a backbone."""
    if model != "text":
        raise UserError(
            f"--backbone is for text, not for {model}: fairpress train text --backbone {backbone}."
        )
    sizes = [name for name in options if name != "max_length"]
    if sizes:
        raise UserError(
            f"--{sizes[0]} does not apply with --backbone, which has its own; leave out one of the two."
        )
    return "huggingface", {"folder": backbone, **options}


def _check_precision(reads: str, precision: str) -> None:
    """Raise UserError for a precision that networks of this kind do not have."""
    if reads == "table":
        raise UserError(
            "--precision is for images and texts; networks for tables train in fp32: leave it out."
        )
    if reads == "text" and precision.endswith("-channels-last"):
        raise UserError(
            f"--precision {precision} is for images; for texts take {precision.removesuffix('-channels-last')}."
        )


def _weights(text: str) -> str | dict[str, float]:
    """Parse --class-weights: a word, or class → weight."""
    if "=" not in text:
        return text
    weights: dict[str, float] = {}
    for part in split_list(text):
        name, _, number = part.rpartition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            raise UserError(
                f"--class-weights {part}: {number!r} is not a number; write balanced, or a weight per class such as "
                "no=1,yes=4."
            ) from None
    return weights


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _attribute(dataset: Dataset, name: str) -> str:
    """Return the sensitive attribute of this name; ``age`` means ``age_group`` in a dataset without ``age``."""
    if name in dataset.attributes:
        return name
    if f"{name}_group" in dataset.attributes:
        return f"{name}_group"
    if name == dataset.task.target:
        raise UserError(f"--by {name}: {name} is the target; name a sensitive attribute of the dataset.")
    raise UserError(
        f"--by {name}: {dataset.name!r} has no such sensitive attribute."
        + did_you_mean(name, dataset.attributes)
    )
