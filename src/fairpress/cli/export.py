"""`fairpress export`: a model folder as a program of ExecuTorch, for phones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.cli.app import app, print_line
from fairpress.cli.progress import progress_callback
from fairpress.cli.written import files_of_data
from fairpress.core.errors import UserError

if TYPE_CHECKING:
    from fairpress.compression.executorch.export import ExecuTorchExport


@app.command
def export(
    base: Path,
    /,
    *,
    out: Path,
    recipe: str = "fp32",
    data: str | None = None,
    max_batch: int | None = None,
    max_length: int | None = None,
    seed: int | None = None,
    force: bool = False,
) -> int:
    """Export a model to ExecuTorch, PyTorch's runtime for phones, and verify the file.

    Example: fairpress export base/ --recipe int8 --out phone.pte

    XNNPACK computes the operators that it has. Next to phone.pte are written phone.model.yaml, with which fairpress predict
    phone=phone.pte runs it, and phone.report.json, its measurements.

    Parameters
    ----------
    base
        The model folder of the baseline or of a network that was pruned or distilled, or a Hugging Face folder.
    out
        The new file, which ends in .pte.
    recipe
        fp32, or int8: weights and activations of 8 bits, with the weights and calibration rows of compress --recipe int8.
        Options: keep, keep_head, ranges, rows, calibration, by, error, rounding, bias_correction, moments.
        Others have no counterpart.
    data
        For a Hugging Face folder: a dataset's name, or a YAML file that describes the data.
    max_batch
        The most rows of a call, for which memory is reserved; by default 256 for tables, 32 for images, and 1 for texts.
    max_length
        For a Hugging Face folder: the longest sequence of token ids; by default that of its tokenizer, at most 512.
    seed
        Seed of the choice of calibration rows; by default the baseline's.
    force
        Replace existing files.
    """
    from fairpress import api
    from fairpress.api.exporting import refuse_file
    from fairpress.api.opening import open_base
    from fairpress.compression.executorch.export import check_targets
    from fairpress.runtime.model_reference import is_huggingface

    refuse_file(base)
    imported = is_huggingface(base)
    if data is not None and not imported:
        raise UserError(f"--data is for Hugging Face folders; the card of {base} records its data.")
    inputs = [base, *files_of_data(data)]
    check_targets(out, texts=False, inputs=inputs, force=force)
    original, dataset = open_base(base, data, max_length)
    check_targets(out, texts=original.reads_texts, inputs=inputs, force=force)
    replaced = " (replaced)" if out.exists() else ""
    exported = api.export(
        original, recipe, data=dataset, max_batch=max_batch, seed=seed, on_message=progress_callback()
    )
    exported.save(out, force=force)
    for line in _lines(exported, out, replaced, base):
        print_line(line, markup=False)
    return 0


def _lines(exported: ExecuTorchExport, out: Path, replaced: str, base: Path) -> list[str]:
    from fairpress.compression.executorch.export import companions_of
    from fairpress.compression.quantization.float_layers import weights_in_float

    report = exported.report
    others = companions_of(out, texts=exported.tokenizer is not None)
    lines = [
        f"Written: {out}{replaced}: {report['bytes']:,} bytes ({base} as ONNX: {report['bytes_before']:,}), "
        f"{report['recipe']}",
        "Written: " + "; ".join(f"{path}: {what}" for what, path in others.items()) if others else "",
        _widths(report["shares_at_bits"]),
        weights_in_float(report["quantization"]),
        _operators(report),
        _sizes(report),
        _checked(report),
    ]
    return [line for line in lines if line]


def _widths(shares: Mapping[str, Mapping[str, float]]) -> str:
    parts = [
        f"{share['parameters']:.1%} of the parameters ({share['bytes']:.1%} of their bytes) have {bits} bits"
        for bits, share in shares.items()
    ]
    return ", ".join(parts)


def _operators(report: Mapping[str, Any]) -> str:
    xnnpack, portable = report["operators"]["xnnpack"], report["operators"]["portable"]
    layers = report["layers"]
    counted = [f"{layers[kind]} layers {where}" for kind, where in _LAYERS.items() if layers[kind]]
    return (
        f"XNNPACK computes {_count(xnnpack)}; portable kernels {_count(portable)}; "
        f"{', '.join(counted) or 'no layer'}"
    )


_LAYERS = {
    "integer": "compute in integers",
    "float": "in floating point",
    "portable": "on portable kernels",
}


def _count(operators: Mapping[str, int]) -> str:
    total = sum(operators.values())
    if not total:
        return "none"
    names = sorted(operators, key=lambda name: (-operators[name], name))
    shown = ", ".join(f"{operators[name]} {name}" for name in names[:6])
    more = f" and {len(names) - 6} other kinds" if len(names) > 6 else ""
    return f"{total} operator{'s' if total != 1 else ''} ({shown}{more})"


def _sizes(report: Mapping[str, Any]) -> str:
    rows = f"1 to {report['max_batch']} rows" if report["max_batch"] > 1 else "exactly 1 row"
    lower = ", less with a smaller --max-batch" if report["max_batch"] > 1 else ""
    return f"it reads {rows} a call and reserves {report['planned_bytes']:,} bytes of memory for them{lower}"


def _checked(report: Mapping[str, Any]) -> str:
    from fairpress.auditing.statistics.proportion_intervals import wilson

    checked, compared = report["check"], report["validation"]
    if "different_from_graph" in checked:
        agreement = (
            f"on {checked['rows']:,} rows it predicts differently from its graph in torch in "
            f"{checked['different_from_graph']} (error {checked['error_against_graph']:.1%} of the spread)"
        )
    else:
        agreement = f"on {checked['rows']:,} rows its outputs are those of the network up to float rounding"
    if not compared["rows"]:
        return agreement
    low, high = wilson(compared["flips"], compared["rows"])
    return (
        f"{agreement}; on {compared['rows']:,} {compared['part']} rows it predicts differently from the baseline in "
        f"{compared['flips']:,} ({compared['flips'] / compared['rows']:.1%} [{low:.1%}, {high:.1%}]), accuracy "
        f"{compared['accuracy']:.3f} (baseline: {compared['accuracy_before']:.3f})"
    )
