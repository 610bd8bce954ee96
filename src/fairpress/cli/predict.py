"""`fairpress predict`: run models on a dataset and write the table of predictions."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from fairpress.cli.app import app, csv_text, print_line
from fairpress.cli.progress import ProgressBar
from fairpress.cli.written import files_of_data
from fairpress.core.errors import ModelWarning, UserError


@app.command
def predict(
    *models: str,
    out: Path | None = None,
    data: str | None = None,
    part: Literal["test", "validation", "all"] = "test",
    model_config: Path | None = None,
    threads: int = 1,
    dry_run: bool = False,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Run models on a dataset's test rows and write the predictions table.

    Example: fairpress predict fp32=base/ int8=int8/ --out preds.parquet

    Does the runtime change the answers? fairpress predict ort=int8/@onnxruntime ov=int8/@openvino --out p.parquet

    Parameters
    ----------
    models
        name=folder or name=file.onnx, the baseline first.
        An ONNX file may come from anywhere.
        What runs a folder is said after an @: onnxruntime (the default),
        onnxruntime-exact (8-bit sums that never saturate),
        openvino (floats in 32 bits), openvino-bf16.
    out
        A .parquet or .csv file.
    data
        A dataset's name, or a YAML file that describes a table or images; by default what the first model was trained on.
    part
        Which rows: test; validation (to choose something, such as audit --pair-from); or all (for a model that never
        saw any of them).
    model_config
        YAML that says what an ONNX file does not; by default NAME.model.yaml or model.yaml beside it.
    threads
        Threads within an operator.
    dry_run
        Print how ONNX files made elsewhere would be run, as a model.yaml, and run nothing more.
    force
        Replace a file at --out that predict did not write, or a CSV, which does not tell.
    """
    from fairpress import api
    from fairpress.core.output import check_files, write_file
    from fairpress.runtime.model_reference import is_external, split_model
    from fairpress.runtime.predictions_file import write_table

    named = {}
    for text in models:
        name, equals, folder = text.partition("=")
        if not equals:
            raise UserError(f"{text!r}: write name=folder, such as fp32={text}.")
        if not name or not folder:
            raise UserError(
                f"{text!r}: the name or the folder is missing; write name=folder, such as fp32=base/."
            )
        if "," in name:
            raise UserError(f"a model cannot be called {name!r}: commas stand between names.")
        if name in named:
            raise UserError(f"two models are called {name!r}; give each a name of its own.")
        named[name] = folder
    if dry_run:
        return _dry_run(named, data, model_config)
    if out is None:
        raise UserError("say where the table goes: --out preds.parquet.")
    if out.suffix not in (".parquet", ".csv"):
        raise UserError(f"{out}: the table is written as .parquet or .csv.")
    read = [Path(str(split_model(place)[0])) for place in named.values()]
    read += [Path(place) for place in (data, model_config) if place is not None]
    read += files_of_data(data)
    check_files({"--out": out}, inputs=read, kinds={"--out": "predictions"}, force=force)
    replaced = " (replaced)" if out.exists() else ""
    with warnings.catch_warnings(), ProgressBar("rows") as progress:
        warnings.simplefilter("ignore", ModelWarning)  # said below, in the words of the command line
        table = api.predict(
            named, data, part=part, model_config=model_config, threads=threads, progress=progress
        )
    if out.suffix == ".csv":
        write_file(out, csv_text(table).encode(), kind="predictions", force=force)
    else:
        write_table(out, table, force=force)
    attributes = [c for c in table.column_names if c not in ("row_id", "subject", "label")]
    attributes = [
        c for c in attributes if c not in named and not any(c.startswith(f"{n}.score") for n in named)
    ]
    first, *rest = named
    _warn(table, [n for n in named if is_external(named[n])])
    print_line(f"{out}{replaced}: {table.num_rows:,} rows", markup=False)
    _tell_models(table, list(named), out)
    print_line("Next:")
    repeated = len(set(table["subject"].to_pylist())) < table.num_rows
    command = ["fairpress", "audit", str(out), "--baseline", first]
    command += ["--compressed", ",".join(rest)] if rest else []
    positive = json.loads(table.schema.metadata[b"fairpress.task"])["positive"]
    command += [] if positive is None else ["--positive", positive]
    command += ["--by", ",".join(attributes), *(["--subject", "subject"] if repeated else [])]
    print_line(f"  {shlex.join(command)}", markup=False, soft_wrap=True)
    return 0


def _tell_models(table: Any, models: list[str], out: Path) -> None:
    """Say in how many rows each model decides otherwise than the first, and what ran it where that was not one for all."""
    import pyarrow.compute as pc

    ran = json.loads(table.schema.metadata[b"fairpress.runtimes"])
    told = {
        name: ", ".join(
            [facts["runtime"], *(["bf16"] if facts["precision"] == "bf16" else []), *facts.get("options", {})]
        )
        for name, facts in ran.items()
    }
    several = len(set(told.values())) > 1
    first, *others = models
    if several:
        print_line(f"  {first}: {told[first]}", markup=False)
    for name in others:
        changed = pc.sum(pc.not_equal(table[name], table[first])).as_py() or 0
        where = f"{told[name]}, " if several else ""
        print_line(
            f"  {name}: {where}another class than {first} in {changed:,} of {table.num_rows:,} rows",
            markup=False,
        )
    if several and out.suffix == ".csv":
        print_line("  A CSV does not keep what ran; a .parquet file does.", markup=False)


def _dry_run(models: dict[str, str], data: str | None, config: Path | None) -> int:
    from fairpress import api
    from fairpress.runtime.external.model import open_external
    from fairpress.runtime.model_reference import is_external, split_model

    made_elsewhere = {n: str(split_model(m)[0]) for n, m in models.items() if is_external(m)}
    if not made_elsewhere or data is None:
        raise UserError("--dry-run shows how ONNX files are run on --data; name a .onnx file and the data.")
    dataset = api.load_dataset(data)
    for name, path in made_elsewhere.items():
        opened = open_external(path, dataset, config)
        guessed = opened.as_yaml()
        for sentence in opened.notes:
            sys.stderr.write(f"fairpress: {name!r}: {sentence}.\n")
        print_line(
            f"# {name}={path}: save this as {Path(path).with_suffix('.model.yaml')} to keep or change it.",
            markup=False,
        )
        print_line(guessed, markup=False, soft_wrap=True)
    return 0


def _warn(table: Any, made_elsewhere: list[str]) -> None:
    """Say on standard error what should make a user look twice at a model that was made elsewhere."""
    import numpy as np

    from fairpress.runtime.predict import notes_of

    for name, sentences in notes_of(table).items():
        for sentence in sentences:
            sys.stderr.write(f"fairpress: {name!r}: {sentence}.\n")

    labels = np.array(table["label"].to_pylist())
    commonest = np.unique(labels, return_counts=True)[1].max() / len(labels)
    for name in made_elsewhere:
        right = float(np.mean(np.array(table[name].to_pylist()) == labels))
        if right < commonest:
            sys.stderr.write(
                f"fairpress: {name!r} is right in {right:.1%} of the rows, less than one class for everybody "
                f"({commonest:.1%}); are its columns and classes in this order (--dry-run)?\n"
            )
