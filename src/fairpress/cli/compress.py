"""`fairpress compress`: a smaller model from a model folder or an ONNX file."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from fairpress.cli.app import app, print_line
from fairpress.cli.progress import progress_callback
from fairpress.cli.written import files_of_data, next_predict, print_next
from fairpress.core.errors import UserError
from fairpress.core.threads import checked_threads


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
    max_length: int | None = None,
    threads: int | None = None,
    force: bool = False,
) -> int:
    """Compress a model by a recipe and verify the file.

    Example: fairpress compress base/ --recipe int8 --out int8/

    Any ONNX file can be compressed by int8, int8-dynamic and w4: fairpress compress model.onnx --data compas --recipe int8
    --out small.onnx

    So can a Hugging Face folder of a text classifier: fairpress compress my-bert/ --data reviews.yaml --recipe int8-dynamic
    --out int8/

    int8, int4, int3, int2: weights of that bit width, activations of 8 bits (post-training quantization).
    w8, w4, w3, w2: weights only.
    mixed(budget=6.3MB): 8, 4, 3 or 2 bits per layer, chosen so that the file keeps the budget and few predictions change.
    'w4(block=32)', 'w8(block=128)': weights only, one scale for that number of weights.
    int8-dynamic: linear layers and embedding tables, with activation ranges computed at each call;
    'int8-dynamic(ranges=row)' has a range for each token, so that no prediction depends on the other texts of a batch.
    kmeans-16: 16 distinct weight values per layer.
    qat-int8, qat-int4, qat-int3, qat-int2: quantization-aware training.
    prune-50, prune-80 …: set the smallest weights to zero, with fine-tuning.
    prune-neurons-50: remove whole neurons of hidden linear layers, with fine-tuning.
    prune-channels-50: for networks with convolutions, remove whole channels and attention heads, with fine-tuning.
    prune-heads-50: for transformers, remove attention heads and feed-forward neurons, with fine-tuning.
    trim-vocabulary-50: for texts, remove the rarest pieces of the tokenizer and their embeddings; without training.
    'distill(layers=1)' for texts, 'distill(widths=32|32)' for mlp, 'distill(into=ARCHITECTURE)': train a smaller network to
    answer as the baseline does.
    placebo: the same fine-tuning, no compression (control).
    checkpoint-1, checkpoint-2 …: the baseline after that epoch.

    'int4(rounding=gptq)', also for w…, mixed and int8-dynamic: integers that change the layers' outputs least.
    For int… and w… also rounding=adaround and brecq, which learn the rounding of layers and of residual blocks, and
    bias_correction=true; equalize+int4 evens out ranges across layers first.

    Join steps by +, as in prune-80+int8. Put options in parentheses: 'int4(ranges=auto)', 'int8(keep=LAYER|LAYER)',
    'int4(bits=LAYER:8)', 'prune-80(scope=global)'; int8-fp32-head keeps the last layer in float.

    To change fewer predictions: 'qat-int4(towards=baseline)' trains towards the baseline's probabilities instead of the
    labels (towards=both: both), as do prune-… and finetune; 'qat-int4(start=gptq)' starts from the weights of
    int4(rounding=gptq).

    To avoid harming any group: 'int4(calibration=balanced,by=race)' calibrates ranges on equally many rows per group;
    'qat-int4(method=fairalm,constraint=equal_opportunity,by=race)', method=penalty or method=ceag train under a
    fairness constraint, as do prune-… and finetune.

    Parameters
    ----------
    base
        The model folder of the baseline, a Hugging Face folder of a text classifier, or an ONNX file.
    recipe
        The recipe, as above.
    out
        The new model folder; for an ONNX file, the new file, written with NAME.model.yaml and NAME.report.json.
    seed
        Seed of fine-tuning; by default the baseline's.
    data
        For an ONNX file or a Hugging Face folder: a dataset's name, or a YAML file that describes the data.
    model_config
        For an ONNX file: YAML with what the file does not record; by default NAME.model.yaml or model.yaml in its folder.
    max_length
        For a Hugging Face folder: the longest sequence of token ids; by default that of its tokenizer, at most 512.
    threads
        Threads within an operator; by default one for each core. Not for ONNX files.
    force
        Replace an existing model folder or file; a folder only if fairpress wrote all of its files.
    """
    from fairpress import api
    from fairpress.api.opening import open_base
    from fairpress.compression.recipes import parse
    from fairpress.runtime.model_reference import is_external, is_huggingface

    if threads is not None:
        checked_threads(threads)
    if is_external(base):
        if threads is not None:
            raise UserError(
                "--threads is for model folders; ONNX Runtime's quantizer, which compresses ONNX files, uses every core: "
                "leave it out, or limit the cores (Linux: taskset --cpu-list 0,1 fairpress compress …)."
            )
        return _compress_file(base, recipe, out, seed, data, model_config, force)
    from fairpress.runtime.artifact import CARD_FILE, check_target

    imported = is_huggingface(base)
    if not imported and base.is_file():
        raise UserError(
            f"{base} is a file of a model; name the folder that contains it."
            if any((base.parent / name).is_file() for name in (CARD_FILE, "config.json"))
            else f"{base} is not a model; name a model folder or an ONNX file."
        )
    if model_config is not None or (data is not None and not imported):
        raise UserError(
            f"--data and --model-config are for ONNX files and Hugging Face folders; the card of {base} records its data."
        )
    check_target(out, inputs=[base, *files_of_data(data)], force=force)
    original, dataset = open_base(base, data, max_length)
    replaced = " (replaced)" if out.is_dir() and any(out.iterdir()) else ""
    artifact = api.compress(
        original, recipe, data=dataset, seed=seed, threads=threads, on_message=progress_callback()
    )
    if imported:
        for sentence in original.card.provenance["warnings"]:
            sys.stderr.write(f"fairpress: {base}: {sentence}.\n")
    from fairpress.compression.quantization.float_layers import (
        weights_in_float,  # needs torch, which api.compress checks first
    )
    from fairpress.runtime.onnx.stored_widths import stored_widths, widths_text

    folder = artifact.save(out, force=force)
    ratio = original.size / artifact.size
    print_line(f"Written: {folder}{replaced}: {artifact.size:,} bytes, {_size(ratio)} {base}", markup=False)
    details = artifact.card.provenance.get("details", {})  # fp32 of a Hugging Face folder has none
    if details.get("sparsity"):
        packed = " and ".join(f"{len(gzip.compress(a.onnx, 6)):,}" for a in (artifact, original))
        print_line(
            f"{details['sparsity']:.0%} of its weights are zero; a dense file becomes smaller only when it is gzipped: "
            f"{packed} bytes",
            markup=False,
        )
    print_line(widths_text(stored_widths(artifact.onnx)), markup=False)
    if left := weights_in_float(details):
        print_line(left, markup=False)
    before = original.card.provenance.get("validation_accuracy")
    accuracy = details.get("validation", {}).get("accuracy")
    if accuracy is not None:
        compared = "" if before is None else f" ({base}: {before:.3f})"
        print_line(f"accuracy on validation rows {accuracy:.3f}{compared}", markup=False)
    if (compensated := parse(recipe).compensated()) is not None:
        print_line(
            "rounding=gptq changed about half as many predictions at the same size where it was measured "
            f"(docs/rounding.md): --recipe '{compensated}'",
            markup=False,
        )
    if not imported:
        print_next(next_predict([base, folder]))
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
    from fairpress.runtime.model_reference import weights_files
    from fairpress.runtime.onnx.stored_widths import stored_widths, widths_text

    if data is None:
        raise UserError(
            f"{base} does not record its data; name the dataset with --data, such as --data compas."
        )
    companions = [out.with_suffix(".model.yaml"), out.with_suffix(".report.json")]
    if out.suffix != ".onnx":
        raise UserError(f"{out}: compressing an ONNX file writes an ONNX file; write --out small.onnx.")
    require_regular(base)
    if not base.is_file():
        raise UserError(f"there is no file {base}.")
    inputs = [base, *weights_files(base), *_config_files(base, model_config), *files_of_data(data)]
    targets: dict[str, Path] = {"--out": out, "its settings": companions[0], "its report": companions[1]}
    check_apart(targets, inputs=inputs)
    for path in (out, *companions):
        if path.exists() and not force:
            raise UserError(f"{path} already exists; choose another --out, or replace it with --force.")
    replaced = " (replaced)" if out.exists() else ""
    check_files(targets, force=True)
    compressed = api.compress_file(
        base,
        recipe,
        data,
        model_config=model_config,
        seed=seed or 0,
        folder=out.parent,
        on_message=progress_callback(),
    )
    write_together(
        {
            companions[0]: lambda path: path.write_text(compressed.model_yaml, encoding="utf-8"),
            companions[1]: lambda path: path.write_text(json.dumps(compressed.report, indent=1) + "\n"),
            out: lambda path: path.write_bytes(compressed.onnx),
        }
    )
    report = compressed.report
    ratio = report["bytes_before"] / report["bytes"]
    layers, checked = report["layers"], report["validation"]
    print_line(f"Written: {out}{replaced}: {report['bytes']:,} bytes, {_size(ratio)} {base}", markup=False)
    print_line(widths_text(stored_widths(compressed.onnx)), markup=False)
    print_line(f"Written: {companions[0]}: its run settings; {companions[1]}: its measurements", markup=False)
    for sentence in report.get("notes", ()):
        sys.stderr.write(f"fairpress: {base}: {sentence}.\n")
    if layers["integer"] or layers["float"]:
        print_line(
            f"{layers['integer']} layers compute in integers, {layers['float']} in floating point",
            markup=False,
        )
    if checked["rows"]:
        print_line(
            f"accuracy on {checked['rows']:,} validation rows {checked['accuracy']:.3f} ({base}: "
            f"{checked['accuracy_before']:.3f}); {checked['flips']:,} predictions changed",
            markup=False,
        )
    return 0


def _config_files(model: Path, config: Path | None) -> list[Path]:
    """Return the existing configuration files of an ONNX file."""
    from fairpress.runtime.external.model import config_locations

    return [p for p in config_locations(model, config) if p.is_file()]


def _size(ratio: float) -> str:
    """Return how a file compares in size with one that has `ratio` times its bytes."""
    if f"{ratio:.2f}" == "1.00":
        return "the size of"
    return f"{ratio:.2f} times smaller than" if ratio > 1 else f"{1 / ratio:.2f} times larger than"
