"""`fairpress train`, `compress`, `predict` and `show`: models, a step at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fairpress.cli.program import app, csv_text, say
from fairpress.core.errors import UserError


@app.command
def train(model: str, /, *, data: str, out: Path, seed: int = 0, device: str = "cpu") -> int:
    """Train a network and write its model folder.

    Example: fairpress train mlp --data compas --out base/

    Parameters
    ----------
    model
        An architecture: mlp.
    data
        A dataset's name.
    out
        The model folder.
    seed
        Training seed.
    device
        cpu, cuda, or auto.
    """
    from fairpress import api

    artifact = api.train(model, data, seed=seed, device=device)
    folder = artifact.save(out)
    made = artifact.card.provenance
    say(f"{folder}: {artifact.size:,} bytes, {made['epochs']} epochs, ", end="", markup=False)
    say(f"accuracy on validation rows {made['validation_accuracy']:.3f}", markup=False)
    return 0


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
def predict(*models: str, out: Path, data: str | None = None) -> int:
    """Run models on a dataset's test rows and write the predictions table.

    Example: fairpress predict fp32=base/ int8=int8/ --out preds.parquet

    Parameters
    ----------
    models
        name=folder, the baseline first.
    out
        A .parquet or .csv file.
    data
        A dataset's name; by default the one the first model was trained on.
    """
    import pyarrow.parquet as pq

    from fairpress import api

    named = {}
    for text in models:
        name, equals, folder = text.partition("=")
        if not equals:
            raise UserError(f"{text!r}: write name=folder, such as fp32=base/.")
        named[name] = folder
    if out.suffix not in (".parquet", ".csv"):
        raise UserError(f"{out}: the table is written as .parquet or .csv.")
    table = api.predict(named, data)
    if out.suffix == ".csv":
        api.write_text(out, csv_text(table))
    else:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, out)
        except OSError as error:
            raise UserError(f"cannot write {out} ({error.strerror or error}).") from None
    attributes = [c for c in table.column_names if c not in ("row_id", "subject", "label")]
    attributes = [c for c in attributes if c.removesuffix(".score") not in named]
    first, *rest = named
    say(f"{out}: {table.num_rows:,} rows. Next:", markup=False)
    compared = f" --compressed {','.join(rest)}" if rest else ""
    say(f"  fairpress audit {out} --baseline {first}{compared} --by {','.join(attributes)}", markup=False)
    return 0


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
