"""`fairpress compress`, `predict` and `show`: models, a step at a time."""

from __future__ import annotations

import gzip
import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from fairpress.cli.app import app, csv_text, print_line
from fairpress.cli.mitigate import mitigation_text as repair_in_words
from fairpress.cli.progress import ProgressBar, progress_callback
from fairpress.cli.written import files_of_data
from fairpress.core.errors import ModelWarning, UserError


@app.command
def compress(
    base: Path,
    /,
    *,
    recipe: str,
    out: Path,
    seed: int | None = None,
    data: str | None = None,
    model_config: Path | None = None,
    force: bool = False,
) -> int:
    """Compress a model by a recipe, and check the file.

    Example: fairpress compress base/ --recipe int8 --out int8/

    An ONNX file from anywhere takes int8, int8-dynamic and w4: fairpress compress model.onnx --data compas --recipe int8
    --out small.onnx

    int8, int4, int2: weights of that many bits, activations of 8 bits.
    w8, w4, w2: weights only.
    mixed(budget=6.3MB): 8, 4 or 2 bits for each layer, chosen so that the file keeps a budget and answers change least.
    int8-dynamic: linear layers only, inputs rounded to the range of each call.
    kmeans-16: each layer's weights take 16 values of its own.
    qat-int8, qat-int4, qat-int2: trained on while rounded.
    prune-50, prune-80 …: the smallest weights to zero, while training goes on.
    prune-channels-50: whole channels and attention heads go, and the smaller network trains on.
    placebo: trained on alike, and not compressed.
    checkpoint-1, checkpoint-2 …: the baseline after that epoch.

    Steps are joined by +, as in prune-80+int8. Options stand in parentheses: 'int4(ranges=auto)', 'int8(keep=LAYER|LAYER)',
    'int4(bits=LAYER:8)', 'prune-80(scope=global)'; int8-fp32-head keeps the last layer in float.

    So that nobody pays: 'int4(calibration=balanced,by=race)' sets ranges by as many rows of every group;
    'qat-int4(method=fairalm,constraint=equal_opportunity,by=race)', or method=penalty, or method=ceag, trains under a
    constraint, as prune-… and finetune do.

    Parameters
    ----------
    base
        The model folder of the baseline, or an ONNX file.
    recipe
        What is done, as above.
    out
        The new model folder; of an ONNX file, the new file: NAME.model.yaml and NAME.report.json are put beside it.
    seed
        Of further training; by default the baseline's.
    data
        For an ONNX file: a dataset's name, or a YAML file that describes a table or images.
    model_config
        For an ONNX file: YAML that says what it does not; by default NAME.model.yaml or model.yaml beside it.
    force
        Replace a model folder or file that is there already; a folder only where fairpress wrote all of its files.
    """
    from fairpress import api
    from fairpress.runtime.model_reference import is_external

    if is_external(base):
        return _compress_file(base, recipe, out, seed, data, model_config, force)
    if data is not None or model_config is not None:
        raise UserError(f"--data and --model-config are for ONNX files; {base} names its data on its card.")
    from fairpress.runtime.artifact import refuse_taken
    from fairpress.runtime.model_reference import open_model

    original = open_model(base)
    refuse_taken(out, inputs=[base], force=force)
    replaced = " (replaced)" if out.is_dir() and any(out.iterdir()) else ""
    artifact = api.compress(original, recipe, seed=seed, say=progress_callback())
    from fairpress.compression.quantization.float_layers import (
        weights_in_float,  # needs torch, which compress asks for in a sentence
    )

    folder = artifact.save(out, force=force)
    ratio = original.size / artifact.size
    size = f"{ratio:.2f} times smaller" if ratio >= 1 else f"{1 / ratio:.2f} times larger"
    print_line(f"{folder}{replaced}: {artifact.size:,} bytes, {size} than {base}", markup=False)
    details = artifact.card.provenance["details"]
    if details.get("sparsity"):
        packed = " and ".join(f"{len(gzip.compress(a.onnx, 6)):,}" for a in (artifact, original))
        print_line(
            f"{details['sparsity']:.0%} of its weights are zero; in a dense file that shows only when it is gzipped: "
            f"{packed} bytes",
            markup=False,
        )
    if left := weights_in_float(details):
        print_line(left, markup=False)
    before = original.card.provenance.get("validation_accuracy")
    accuracy = details["validation"]["accuracy"]
    if accuracy is not None:
        compared = "" if before is None else f", of {base} {before:.3f}"
        print_line(f"accuracy on validation rows {accuracy:.3f}{compared}", markup=False)
    return 0


def _compress_file(
    base: Path,
    recipe: str,
    out: Path,
    seed: int | None,
    data: str | None,
    model_config: Path | None,
    force: bool,
) -> int:
    from fairpress import api
    from fairpress.core.files import require_regular, write_together
    from fairpress.core.output import check_apart, check_files

    if data is None:
        raise UserError(f"{base} does not say which data it reads; say --data, such as --data compas.")
    beside = [out.with_suffix(".model.yaml"), out.with_suffix(".report.json")]
    if out.suffix != ".onnx":
        raise UserError(f"{out}: of an ONNX file an ONNX file is made; write --out small.onnx.")
    require_regular(base)
    if not base.is_file():
        raise UserError(f"there is no file {base}.")
    read = [base, *_read_with(base, model_config), *files_of_data(data)]
    targets: dict[str, Path] = {"--out": out, "its settings": beside[0], "its report": beside[1]}
    check_apart(targets, inputs=read)
    for place in (out, *beside):
        if place.exists() and not force:
            raise UserError(f"{place} is there already; choose another --out, or replace it with --force.")
    replaced = " (replaced)" if out.exists() else ""
    check_files(targets, force=True)
    made = api.compress_file(base, recipe, data, model_config=model_config, seed=seed or 0)
    write_together(
        {
            beside[0]: lambda place: place.write_text(made.model_yaml, encoding="utf-8"),
            beside[1]: lambda place: place.write_text(json.dumps(made.report, indent=1) + "\n"),
            out: lambda place: place.write_bytes(made.onnx),
        }
    )
    found = made.report
    ratio = found["bytes_before"] / found["bytes"]
    layers, checked = found["layers"], found["validation"]
    size = f"{ratio:.2f} times smaller" if ratio >= 1 else f"{1 / ratio:.2f} times larger"
    print_line(f"{out}{replaced}: {found['bytes']:,} bytes, {size} than {base}", markup=False)
    print_line(f"{beside[0]}: how it is run; {beside[1]}: what was measured", markup=False)
    for sentence in found.get("notes", ()):
        sys.stderr.write(f"fairpress: {base}: {sentence}.\n")
    if layers["integer"] or layers["float"]:
        print_line(
            f"{layers['integer']} layers compute in integers, {layers['float']} in floats", markup=False
        )
    if checked["rows"]:
        print_line(
            f"accuracy on {checked['rows']:,} validation rows {checked['accuracy']:.3f}, of {base} "
            f"{checked['accuracy_before']:.3f}; {checked['flips']:,} rows are decided otherwise",
            markup=False,
        )
    return 0


def _read_with(model: Path, config: Path | None) -> list[Path]:
    """Return the files that say how an ONNX file is run, where they are."""
    from fairpress.runtime.external.model import config_locations

    return [p for p in config_locations(model, config) if p.is_file()]


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


@app.command
def show(model: Path, /, *, json_: Annotated[bool, Parameter("--json")] = False) -> int:
    """Show the card of a model folder, its mitigation, and the audit that its ONNX file carries.

    Example: fairpress show int8/

    Parameters
    ----------
    model
        A model folder, or an ONNX file.
    json_
        Print JSON: {"card": …, "audit": …}.
    """
    from fairpress.auditing.output.summary import summary_text
    from fairpress.runtime.artifact import Artifact
    from fairpress.runtime.onnx.metadata import embedded

    repair, threshold = None, 0.5
    if model.suffix == ".onnx" and not model.exists():
        raise UserError(f"there is no file {model}; check the path.")
    if model.is_file() and model.suffix == ".onnx":
        card, data = None, model.read_bytes()
    else:
        artifact = Artifact.load(model)
        card, data, repair = artifact.card.to_json(), artifact.onnx, artifact.mitigation
        threshold = artifact.card.threshold
    try:
        found = embedded(data)
    except UserError as error:
        raise UserError(f"{model}: {error}") from None
    if json_:
        told = {"card": None if card is None else json.loads(card), "audit": found}
        if repair is not None:
            told["mitigation"] = json.loads(repair.to_json())
        print(json.dumps(told, indent=1))  # noqa: T201
        return 0
    if card is not None:
        print(card)  # noqa: T201
        origin = json.loads(card).get("provenance", {})
        for sentence in origin.get("origin", origin).get("warnings", ()):
            print_line(f"warning: {sentence}", markup=False, soft_wrap=True)
    if repair is not None:
        by = "*".join(repair.repair.by)
        for line in (
            f"{repair.repair.method} by {by}:",
            *repair_in_words(repair.repair, threshold),
            repair.warning,
        ):
            print_line(line, markup=False, soft_wrap=True)
    for line in (
        ["it carries no audit; `fairpress audit --embed` puts one there"]
        if found is None
        else summary_text(found)
    ):
        print_line(line, markup=False)
    return 0
