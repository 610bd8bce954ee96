"""`fairpress compress`: a smaller model from a model folder or an ONNX file."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from fairpress.cli.app import app, print_line
from fairpress.cli.progress import progress_callback
from fairpress.cli.written import files_of_data
from fairpress.core.errors import UserError


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
