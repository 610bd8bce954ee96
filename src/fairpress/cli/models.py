"""`fairpress train`, `compress`, `predict` and `show`: models, a step at a time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from fairpress.cli.program import app, csv_text, listed, say, show_audit
from fairpress.core.errors import UserError

if TYPE_CHECKING:
    from fairpress.datasets.base import Dataset


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
    seed: int = 0,
    device: str | None = None,
) -> int:
    """Train a network and write its model folder. An interrupted training of images goes on by the same command.

    Examples:

    fairpress train mlp --data compas --out base/

    fairpress train resnet18 --data utkface --target sex --by race,age --image-size 64 --out base/

    Parameters
    ----------
    model
        An architecture: mlp for tables, resnet18 for images.
    data
        A dataset's name, or a YAML file that describes a table or images.
    out
        The model folder.
    by
        Sensitive attributes, by commas: show the accuracy of each of their groups, on validation rows.
    target
        What is predicted, where the dataset has a choice: utkface has sex, race, age_group.
    image_size
        Side of the square, in pixels, to which images are resized (64).
    test_share
        Share of the rows that is kept for testing; small groups need many.
    epochs
        At most so many rounds through the training rows (mlp 40, resnet18 16); training stops early.
    batch_size
        Rows in a step (mlp 128, resnet18 64).
    learning_rate
        The highest learning rate (0.001).
    weights
        A safetensors file of weights to start from: a model folder's, or one with torchvision's names.
    seed
        Training seed.
    device
        cpu, cuda, or auto. By default a GPU, where there is one, for images, and else the processor.
    """
    from fairpress import api
    from fairpress.runtime.artifact import refuse_taken
    from fairpress.training.fit import check_readable, require_torch, training_config

    require_torch("Training a network")
    from fairpress.models import registry

    refuse_taken(out)
    options = {} if weights is None else {"weights": str(weights)}
    training = _given(max_epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    architecture = registry.get(model, **options)
    training_config(architecture, training)
    dataset = api.load_dataset(data, **_given(target=target, size=image_size, test_share=test_share))
    check_readable(architecture, dataset)
    attributes = [_attribute(dataset, name) for name in listed(by)]
    unfinished = out.resolve().with_name(f".{out.resolve().name}.training")
    artifact = api.train(
        model,
        dataset,
        seed=seed,
        options=options,
        training=training,
        device=device,
        checkpoints=unfinished,
        say=_progress(),
    )
    folder = artifact.save(out)
    shutil.rmtree(unfinished, ignore_errors=True)
    made = artifact.card.provenance
    say(f"{folder}: {artifact.size:,} bytes, {made['epochs']} epochs, ", end="", markup=False)
    say(f"accuracy on validation rows {made['validation_accuracy']:.3f}", markup=False)
    if attributes:
        table = api.predict({out.resolve().name: artifact}, dataset.development(), part="validation")
        say("on validation rows, which chose the epoch; an audit uses test rows:", markup=False)
        show_audit(api.audit(table, by=attributes, positive=dataset.task.positive))
    return 0


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _attribute(dataset: Dataset, name: str) -> str:
    """Return the sensitive attribute that is meant: age stands for age_group where there is no age."""
    from fairpress.core.errors import did_you_mean

    if name in dataset.attributes:
        return name
    if f"{name}_group" in dataset.attributes:
        return f"{name}_group"
    if name == dataset.task.target:
        raise UserError(
            f"--by {name}: {name} is what is predicted here; accuracy by it is no question of fairness."
        )
    raise UserError(
        f"--by {name}: {dataset.name!r} has no such sensitive attribute."
        + did_you_mean(name, dataset.attributes)
    )


def _progress() -> Callable[[str], None]:
    """Return what prints sentences on standard error; of epochs that fly by, not more than one a second."""
    import time

    told = 0.0

    def tell(sentence: str) -> None:
        nonlocal told
        if sentence.startswith("epoch") and time.monotonic() - told < 1:
            return
        told = time.monotonic()
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()

    return tell


@app.command
def compress(base: Path, /, *, recipe: str, out: Path) -> int:
    """Compress a model by a recipe.

    Example: fairpress compress base/ --recipe int8 --out int8/

    Parameters
    ----------
    base
        The model folder of the baseline.
    recipe
        int8, int4, prune-80, or steps joined by +: prune-80+int8. placebo(prune-80) is its control.
    out
        The new model folder.
    """
    from fairpress import api

    original = api.open_model(base)
    artifact = api.compress(original, recipe)
    folder = artifact.save(out)
    ratio = original.size / artifact.size
    say(f"{folder}: {artifact.size:,} bytes, {ratio:.2f} times smaller than {base}", markup=False)
    return 0


@app.command
def predict(
    *models: str,
    out: Path | None = None,
    data: str | None = None,
    part: Literal["test", "all"] = "test",
    model_config: Path | None = None,
    dry_run: bool = False,
) -> int:
    """Run models on a dataset's test rows and write the predictions table.

    Example: fairpress predict fp32=base/ int8=int8/ --out preds.parquet

    Parameters
    ----------
    models
        name=folder or name=file.onnx, the baseline first. An ONNX file may come from anywhere.
    out
        A .parquet or .csv file.
    data
        A dataset's name, or a YAML file that describes a table or images; by default what the first model was trained on.
    part
        Which rows: test, or all (for a model that never saw any of them).
    model_config
        YAML that says what an ONNX file does not; by default NAME.model.yaml or model.yaml beside it.
    dry_run
        Print how ONNX files made elsewhere would be run, as a model.yaml, and run nothing more.
    """
    from fairpress import api

    named = {}
    for text in models:
        name, equals, folder = text.partition("=")
        if not equals:
            raise UserError(f"{text!r}: write name=folder, such as fp32=base/.")
        if name in named:
            raise UserError(f"two models are called {name!r}; give each a name of its own.")
        named[name] = folder
    if dry_run:
        return _dry_run(named, data, model_config)
    if out is None:
        raise UserError("say where the table goes: --out preds.parquet.")
    if out.suffix not in (".parquet", ".csv"):
        raise UserError(f"{out}: the table is written as .parquet or .csv.")
    table = api.predict(named, data, part=part, model_config=model_config)
    if out.suffix == ".csv":
        api.write_text(out, csv_text(table))
    else:
        api.write_table(out, table)
    attributes = [c for c in table.column_names if c not in ("row_id", "subject", "label")]
    attributes = [
        c for c in attributes if c not in named and not any(c.startswith(f"{n}.score") for n in named)
    ]
    first, *rest = named
    _warn(table, [n for n in named if api.is_foreign(named[n])])
    say(f"{out}: {table.num_rows:,} rows. Next:", markup=False)
    compared = f" --compressed {','.join(rest)}" if rest else ""
    say(f"  fairpress audit {out} --baseline {first}{compared} --by {','.join(attributes)}", markup=False)
    return 0


def _dry_run(models: dict[str, str], data: str | None, config: Path | None) -> int:
    from fairpress import api
    from fairpress.runtime.foreign import open_foreign

    made_elsewhere = {n: m for n, m in models.items() if api.is_foreign(m)}
    if not made_elsewhere or data is None:
        raise UserError("--dry-run shows how ONNX files are run on --data; name a .onnx file and the data.")
    dataset = api.load_dataset(data)
    for name, path in made_elsewhere.items():
        say(
            f"# {name}={path}: save this as {Path(path).with_suffix('.model.yaml')} to keep or change it.",
            markup=False,
        )
        say(open_foreign(path, dataset, config).as_yaml(), markup=False, soft_wrap=True)
    return 0


def _warn(table: Any, made_elsewhere: list[str]) -> None:
    """Say on standard error what should make a user look twice at a model that was made elsewhere."""
    import numpy as np

    labels = np.array(table["label"].to_pylist())
    commonest = np.unique(labels, return_counts=True)[1].max() / len(labels)
    for name in made_elsewhere:
        right = float(np.mean(np.array(table[name].to_pylist()) == labels))
        if right < commonest:
            sys.stderr.write(
                f"fairpress: {name!r} is right in {right:.1%} of the rows, less than one class for everybody "
                f"({commonest:.1%}); are its columns and classes in this order (--dry-run)?\n"
            )


@app.command
def show(model: Path, /, *, json_: Annotated[bool, Parameter("--json")] = False) -> int:
    """Show the card of a model folder, and the audit that its ONNX file carries.

    Example: fairpress show int8/

    Parameters
    ----------
    model
        A model folder, or an ONNX file.
    json_
        Print JSON: {"card": …, "audit": …}.
    """
    from fairpress.auditing.summary import in_words
    from fairpress.runtime.artifact import Artifact
    from fairpress.runtime.embed import embedded

    if model.is_file() and model.suffix == ".onnx":
        card, data = None, model.read_bytes()
    else:
        artifact = Artifact.load(model)
        card, data = artifact.card.to_json(), artifact.onnx
    found = embedded(data)
    if json_:
        print(json.dumps({"card": None if card is None else json.loads(card), "audit": found}, indent=1))  # noqa: T201
        return 0
    if card is not None:
        print(card)  # noqa: T201
    for line in (
        ["it carries no audit; `fairpress audit --embed` puts one there"]
        if found is None
        else in_words(found)
    ):
        say(line, markup=False)
    return 0
