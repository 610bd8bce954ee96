"""`fairpress predict`: run models on a dataset and write the table of predictions."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from fairpress.cli.app import app, csv_text, print_line, print_sentence
from fairpress.cli.progress import ProgressBar
from fairpress.cli.written import files_of_card, files_of_data
from fairpress.core.errors import ModelWarning, UserError


@app.command
def predict(
    *models: str,
    out: Path | None = None,
    data: str | None = None,
    part: Literal["test", "validation", "all"] = "test",
    model_config: Path | None = None,
    threads: int = 1,
    batch_dependence: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    dry_run: bool = False,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Run models on a dataset's test rows and write the predictions table.

    Example: fairpress predict fp32=base/ int8=int8/ --out preds.parquet

    To compare runtimes: fairpress predict ort=int8/@onnxruntime ov=int8/@openvino --out p.parquet

    Parameters
    ----------
    models
        name=folder or name=file, the baseline first.
        Any ONNX, LiteRT (.tflite), OpenVINO (.xml) or ExecuTorch (.pte)
        file is accepted, and a Hugging Face folder of a text classifier.
        Choose the runtime after an @: onnxruntime (the default),
        onnxruntime-exact (8-bit sums that never saturate),
        openvino (floats in 32 bits), openvino-bf16, litert-reference.
    out
        A .parquet or .csv file.
    data
        A dataset's name, or a YAML file that describes a table, images or texts; by default the first model's training data.
    part
        Which rows: test; validation (for choices such as audit --pair-from); or all (for a model that was not trained
        on any of them).
    model_config
        YAML with what such a file does not record; by default NAME.model.yaml or model.yaml in its folder.
    threads
        Threads within an operator (intra-op).
    batch_dependence
        For models that read texts: also count the predictions that depend on batch size, order and padding. Done anyway for
        files that compute ranges of activations in each call (dynamic quantization).
    dry_run
        Print the settings with which external files would run, as a model.yaml, and exit.
    force
        Replace a file at --out that predict did not write, or any CSV file.
    """
    from fairpress import api
    from fairpress.core.output import check_files, write_file
    from fairpress.reporting.prediction_changes import EXAMPLE_MARGINS, recorded_outcome
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
            raise UserError(
                f"the name {name!r} of a model contains a comma, which separates names; choose another name."
            )
        if name in named:
            raise UserError(f"two models have the name {name!r}; give each another name.")
        named[name] = folder
    if dry_run:
        return _dry_run(named, data, model_config)
    if out is None:
        raise UserError("name the output file with --out, such as --out preds.parquet.")
    if out.suffix not in (".parquet", ".csv"):
        raise UserError(f"{out}: the table is written as Parquet or CSV; name a .parquet or .csv file.")
    inputs = [Path(str(split_model(path)[0])) for path in named.values()]
    inputs += [Path(path) for path in (data, model_config) if path is not None]
    inputs += files_of_data(data)
    if data is None and named and not is_external(first := next(iter(named.values()))):
        inputs += files_of_card(str(split_model(first)[0]))
    check_files({"--out": out}, inputs=inputs, kinds={"--out": "predictions"}, force=force)
    replaced = " (replaced)" if out.exists() else ""
    with warnings.catch_warnings(), ProgressBar("rows") as progress:
        warnings.simplefilter("ignore", ModelWarning)  # printed below by `_warn`
        table = api.predict(
            named,
            data,
            part=part,
            model_config=model_config,
            threads=threads,
            batch_dependence=batch_dependence or None,
            progress=progress,
        )
    if out.suffix == ".csv":
        write_file(out, csv_text(table).encode(), kind="predictions", force=force)
    else:
        write_table(out, table, force=force)
    first, *rest = named
    _warn(table, [n for n in named if is_external(named[n])])
    print_line(f"Written: {out}{replaced}: {table.num_rows:,} rows", markup=False)
    _print_models(table, list(named), out)
    print_line("Next:")
    repeated = len(set(table["subject"].to_pylist())) < table.num_rows
    outcome = recorded_outcome(table)
    command = ["fairpress", "audit", str(out)]
    command += ["--outcome", outcome] if outcome is not None else []
    command += ["--baseline", first, *(["--compressed", ",".join(rest)] if rest else [])]
    if outcome is None:
        positive = json.loads(table.schema.metadata[b"fairpress.task"])["positive"]
        command += [] if positive is None else ["--positive", positive]
    command += ["--by", ",".join(_attributes(table, list(named)))]
    command += ["--subject", "subject"] if repeated else []
    command += ["--margin", EXAMPLE_MARGINS[outcome]] if outcome is not None else []
    print_line(f"  {shlex.join(command)}", markup=False, soft_wrap=True)
    if outcome is not None:
        print_line("  The margin is an example; choose how large a loss would be unacceptable.", markup=False)
    return 0


def _attributes(table: Any, models: list[str]) -> list[str]:
    """Return the sensitive attributes of a predictions table: what is neither of a row, nor the label, nor of a model."""
    prefixes = ("label.", *(f"{name}." for name in models))
    reserved = {"row_id", "subject", "label", *models}
    return [c for c in table.column_names if c not in reserved and not c.startswith(prefixes)]


def _print_models(table: Any, models: list[str], out: Path) -> None:
    """Print how the predictions of each model differ from the first's, its ties, and its runtime where runtimes differ."""
    from fairpress.reporting.prediction_changes import differences, recorded_outcome, tie_text

    runtimes, outcome = json.loads(table.schema.metadata[b"fairpress.runtimes"]), recorded_outcome(table)
    descriptions = {
        name: ", ".join(
            [facts["runtime"], *(["bf16"] if facts["precision"] == "bf16" else []), *facts.get("options", {})]
        )
        for name, facts in runtimes.items()
    }
    several = len(set(descriptions.values())) > 1
    first, *others = models
    if several:
        print_line(f"  {first}: {descriptions[first]}", markup=False)
    for name in others:
        description = f"{descriptions[name]}, " if several else ""
        print_line(f"  {name}: {description}{differences(table, name, first, outcome)}", markup=False)
    for name in models:
        if count := runtimes[name].get("at_threshold"):
            print_line(f"  {name}: {tie_text(table, runtimes[name], count)}", markup=False)
    if several and out.suffix == ".csv":
        print_line("  A CSV file does not record the runtimes; a .parquet file does.", markup=False)


def _dry_run(models: dict[str, str], data: str | None, config: Path | None) -> int:
    from fairpress import api
    from fairpress.runtime.backends.registry import choose
    from fairpress.runtime.external.model import open_external
    from fairpress.runtime.model_reference import default_runtime_of, is_external, split_model

    external = {n: split_model(m) for n, m in models.items() if is_external(m)}
    if not external or data is None:
        raise UserError(
            "--dry-run shows the settings of external files for a dataset; name a file such as model.onnx and --data."
        )
    dataset = api.load_dataset(data)
    for name, (reference, named_runtime) in external.items():
        path = str(reference)
        opened = open_external(path, dataset, config, choose(named_runtime or default_runtime_of(path)))
        guessed = opened.as_yaml()
        for sentence in opened.notes:
            sys.stderr.write(f"fairpress: {name!r}: {sentence}.\n")
        print_line(
            f"# {name}={path}: save this as {Path(path).with_suffix('.model.yaml')} to keep or change it.",
            markup=False,
        )
        print_sentence(guessed)
    return 0


def _warn(table: Any, external: list[str]) -> None:
    """Print warnings about models on standard error, and external models that are worse than a constant prediction."""
    import numpy as np

    from fairpress.runtime.predict import notes_of

    models_of: dict[str, list[str]] = {}
    for name, sentences in notes_of(table).items():
        for sentence in sentences:
            models_of.setdefault(sentence, []).append(repr(name))
    for sentence, names in models_of.items():
        sys.stderr.write(f"fairpress: {', '.join(names)}: {sentence}.\n")

    from fairpress.reporting.prediction_changes import recorded_outcome

    if not external or recorded_outcome(table) is not None:
        return
    labels = np.array(table["label"].to_pylist())
    commonest = np.unique(labels, return_counts=True)[1].max() / len(labels)
    for name in external:
        right = float(np.mean(np.array(table[name].to_pylist()) == labels))
        if right < commonest:
            sys.stderr.write(
                f"fairpress: {name!r} has an accuracy of {right:.1%}, less than always predicting one class "
                f"({commonest:.1%}); check the order of its columns and classes with --dry-run.\n"
            )
