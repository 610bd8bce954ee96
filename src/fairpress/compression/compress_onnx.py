"""Compress an external ONNX file, whose network is not available, with ONNX Runtime's quantizer. No torch.

fairpress does what the quantizer leaves open: it chooses the calibration rows, compares the result with the original file,
and writes how it is to be run.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.compression.onnx.external_tables import quantize_tables
from fairpress.compression.onnx.external_weights import store_remaining
from fairpress.compression.onnx.prepare import LAYERS, QUANTIZED, prepare_file, weighted_nodes
from fairpress.compression.quantization.calibration_sampling import sample_rows
from fairpress.compression.recipes import Recipe
from fairpress.compression.step import Step
from fairpress.compression.steps.dynamic import QuantizeDynamic
from fairpress.compression.steps.quantize import Quantize
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.output_kind import DESCRIPTIONS
from fairpress.core.temporary import system_folder
from fairpress.core.time_left import counted
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.backends.onnxruntime import kernels
from fairpress.runtime.external.model import ExternalModel, open_external
from fairpress.runtime.onnx.stored_widths import shares, stored_widths

if TYPE_CHECKING:
    import onnx

SUPPORTED_STEPS = "int8, int8-dynamic or w4"
CALIBRATION_ROWS = ("rows", "calibration", "by", "draw", "reduce_range", "keep")
PRODUCTS = ("MatMul", "Gemm")
BLOCK = 32  # weights that share a scale, at 4 bits
ROWS_AT_ONCE, CHECKED_ROWS = 64, 256


@dataclass(frozen=True)
class CompressedFile:
    """A compressed ONNX file, its `model.yaml`, and a report of the comparison with the original."""

    onnx: bytes
    model_yaml: str
    report: Mapping[str, Any]


def compress_file(
    path: Path,
    recipe: Recipe,
    dataset: Dataset,
    config: Path | None = None,
    seed: int = 0,
    target_folder: Path | None = None,
) -> CompressedFile:
    """Return a smaller file with the same inputs and outputs as the given one.

    Test rows are removed first. The report contains sizes, the number of layers that compute in integers, the calibration
    rows that were used, and, on validation rows, the accuracy of both files and the number of changed predictions.

    Parameters
    ----------
    path
        The file; weights may be in files next to it.
    config
        What the file does not specify, as `runtime.external.open_external` reads it.
    target_folder
        Where the result will be written, by default beside `path`.

    Raises
    ------
    UserError
        The file is not an ONNX file, is already quantized, has nothing to quantize, or cannot be compressed by ONNX
        Runtime's quantizer; or the recipe or an option needs more than a file.
    """
    if path.suffix.lower() != ".onnx":
        raise UserError(
            f"{path} is not an ONNX file, and only those are quantized here; compress the network or the ONNX file that "
            "it was converted from."
        )
    step = check_recipe(recipe)
    if dataset.task.outputs != "classes":
        raise UserError(
            f"files of classifiers are quantized here, and {dataset.task.target!r} is {DESCRIPTIONS[dataset.task.outputs]}; "
            "compress the network that the file was exported from: fairpress.compress(module, recipe, data=dataset)."
        )
    data = dataset.development()
    baseline = open_external(path, data, config)
    model = prepare_file(path)
    _check_layers(model, path, step, recipe)
    calibration: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fairpress-onnx-") as folder:
        # ONNX Runtime's quantizer writes into the folder of its input, which must not be the user's.
        weights_only = isinstance(step, Quantize) and step.activation_bits == 32
        source, target = Path(folder) / "source.onnx", Path(folder) / "made.onnx"
        with _translate_errors(path):
            source.write_bytes(model.SerializeToString(deterministic=True))
            _check_same_predictions(baseline, replace(baseline, path=source), data)
            if isinstance(step, QuantizeDynamic):
                _dynamic(source, target, step)
            elif weights_only:
                _weights_only(source, target, step)
            else:
                positions, calibration = sample_rows(
                    data, step.rows, step.calibration, step.by, (step.draw, seed)
                )
                calibration = {
                    "calibration_rows": len(positions),
                    **calibration,
                    "activation_ranges": "minmax",
                }
                rows = data.index("calibration")[positions]
                prepared = replace(baseline, path=source)
                _static(source, target, Path(folder) / "prepared.onnx", step, prepared, data, rows)
        content = target.read_bytes()
        tables: dict[str, Any] = {}
        if data.kind == "text":
            content, tables = quantize_tables(content, 4 if weights_only else 8, step.keep)
        with _translate_errors(path):
            content, remaining = store_remaining(content, 4 if weights_only else 8, step.keep)
        _check_quantized(content, path, recipe)
        with _translate_errors(path):
            try:
                target.write_bytes(content)
                kernel_counts = kernels(content)
                comparison, notes = _compare(baseline, replace(baseline, path=target), data)
            except UserError as error:
                raise UserError(
                    f"the file that ONNX Runtime's quantizer made from {path} cannot be run ({str(error)[:200]}); leave "
                    "layers in float with `keep=`, or compress the network it was exported from."
                ) from None
        report = {
            "recipe": str(recipe),
            "made_from": path.name,
            "bytes": len(content),
            "bytes_before": _size(path),
            "layers": {"integer": kernel_counts.integer, "float": kernel_counts.floating},
            "shares_at_bits": shares(stored_widths(content)),
            **tables,
            **calibration,
            **{k: v for k, v in remaining.items() if k != "notes"},
            **({"notes": notes} if (notes := [*notes, *remaining.get("notes", ())]) else {}),
            "validation": comparison,
        }
    return CompressedFile(content, baseline.as_yaml(target_folder or path.parent), report)


def check_recipe(recipe: Recipe) -> Quantize | QuantizeDynamic:
    """Return the recipe's only step. Raises UserError for a recipe or option that an external file does not support."""
    step = recipe.steps[0] if len(recipe.steps) == 1 else None
    static = type(step) is Quantize and (step.weight_bits, step.activation_bits) in ((8, 8), (4, 32))
    if step is None or not (static or type(step) is QuantizeDynamic):
        raise UserError(
            f"{recipe} needs a network, and an ONNX file has none; take {SUPPORTED_STEPS}, or compress a model folder, "
            "which takes every recipe."
        )
    allowed: tuple[str, ...] = ("keep",)
    if type(step) is Quantize and step.activation_bits == 8:
        allowed = CALIBRATION_ROWS
    _check_options(step, allowed, recipe)
    assert isinstance(step, Quantize | QuantizeDynamic)
    return step


def _check_options(step: Step, allowed: tuple[str, ...], recipe: Recipe) -> None:
    fixed = {"weight_bits", "activation_bits"}
    for name, value in step.model_dump().items():
        if name in fixed or name in allowed or value == type(step).model_fields[name].default:
            continue
        if name in ("weights", "activations") and value == "minmax":
            continue  # ONNX Runtime's method
        raise UserError(
            f"recipe {str(recipe)!r}: external ONNX files do not support {name}; ONNX Runtime's quantizer takes "
            f"{', '.join(allowed)} here."
        )


def _static(
    path: Path,
    target: Path,
    prepared: Path,
    step: Quantize,
    model: ExternalModel,
    data: Dataset,
    rows: np.ndarray,
) -> None:
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(ort.CalibrationDataReader):
        def __init__(self) -> None:
            batches = -(-len(rows) // ROWS_AT_ONCE)
            self.chunks = counted(model.feeds(data, rows, ROWS_AT_ONCE), "calibration, batches", batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.chunks, None)

    # Constants folded, batch norms with them; symbolic shapes would need one more package.
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    ort.quantize_static(
        str(prepared),
        str(target),
        Reader(),
        quant_format=ort.QuantFormat.QDQ,
        op_types_to_quantize=list(LAYERS),  # quantizing all operators ruins the predictions of transformers
        per_channel=True,
        reduce_range=step.reduce_range,
        activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8,
        nodes_to_exclude=list(step.keep),
        calibrate_method=ort.CalibrationMethod.MinMax,
        extra_options=_float_by_default(),
    )


def _dynamic(path: Path, target: Path, step: QuantizeDynamic) -> None:
    from onnxruntime import quantization as ort

    ort.quantize_dynamic(
        str(path),
        str(target),
        op_types_to_quantize=[*PRODUCTS, "LSTM"],  # convolutions would run slower than in float
        per_channel=True,
        weight_type=ort.QuantType.QInt8,
        nodes_to_exclude=_excluded_nodes(step.keep),
        extra_options=_float_by_default(),
    )


def _float_by_default() -> dict[str, Any]:
    """Return the option for values whose type onnx cannot infer, such as outputs of operators for scikit-learn."""
    import onnx

    return {"DefaultTensorType": onnx.TensorProto.FLOAT}


def _weights_only(path: Path, target: Path, step: Quantize) -> None:
    import onnx
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = ONNXModel(onnx.load(path))
    model.replace_gemm_with_matmul()
    quantizer = MatMulNBitsQuantizer(
        model.model,
        bits=4,
        block_size=BLOCK,
        is_symmetric=True,
        quant_format=QuantFormat.QOperator,
        nodes_to_exclude=_excluded_nodes(step.keep),
        op_types_to_quantize=("MatMul",),
    )
    quantizer.process()
    target.write_bytes(quantizer.model.model.SerializeToString(deterministic=True))


def _excluded_nodes(names: Sequence[str]) -> list[str]:
    """Return the names of nodes to keep, and their names after ONNX Runtime has turned a Gemm into a MatMul."""
    return [*names, *(f"{name}_MatMul" for name in names)]


def _check_layers(
    model: onnx.ModelProto, path: Path, step: Quantize | QuantizeDynamic, recipe: Recipe
) -> None:
    """Refuse a file that this recipe cannot make smaller, and an unknown name in `keep`."""
    names = [n.name for n in model.graph.node if n.op_type in (*LAYERS, "Gather") and n.name]
    for name in step.keep:
        if name not in names:
            raise UserError(f"{path} has no layer {name!r} to keep in float." + did_you_mean(name, names))
    static = isinstance(step, Quantize) and step.activation_bits == 8
    if not weighted_nodes(model.graph, LAYERS if static else PRODUCTS):
        raise UserError(_nothing_to_compress(path, recipe))


def _check_same_predictions(original: ExternalModel, converted: ExternalModel, data: Dataset) -> None:
    """Raise UserError if the copy that is quantized does not predict the same as the user's file."""
    rows = data.index("calibration")[:CHECKED_ROWS]
    original_predictions, converted_predictions = original.answers(data, rows), converted.answers(data, rows)
    if original_predictions.probabilities is None or converted_predictions.probabilities is None:
        same = bool((original_predictions.decided == converted_predictions.decided).all())
    else:
        same = bool(
            np.allclose(original_predictions.probabilities, converted_predictions.probabilities, atol=1e-4)
        )
    if not same:
        raise UserError(
            f"{original.path} gives other predictions once it is converted to the opset that quantized files need; "
            "export it with opset 13 or later."
        )


def _check_quantized(content: bytes, path: Path, recipe: Recipe) -> None:
    import onnx

    nodes = onnx.load_from_string(content).graph.node
    if not QUANTIZED & {n.op_type for n in nodes}:
        raise UserError(_nothing_to_compress(path, recipe))


def _nothing_to_compress(path: Path, recipe: Recipe) -> str:
    static = str(recipe).startswith("int8") and "dynamic" not in str(recipe)
    kind = "convolution or product" if static else "product"
    return f"{recipe} cannot make {path} smaller: it has no {kind} of matrices with stored weights; take another recipe."


def _compare(
    original: ExternalModel, compressed: ExternalModel, data: Dataset
) -> tuple[dict[str, Any], list[str]]:
    """Return accuracies of both files and the number of changed predictions on validation rows, and notes on the original.

    Predictions are those of `predict`.
    """
    index = data.index("validation")
    if not len(index):
        return {"rows": 0}, list(original.notes)
    original_predictions = original.answers(data, index)
    predicted = [original_predictions.decided, compressed.answers(data, index).decided]
    accuracies = [float((d == data.labels[index]).mean()) for d in predicted]
    flips = int((predicted[0] != predicted[1]).sum())
    comparison = {
        "rows": len(index),
        "accuracy_before": accuracies[0],
        "accuracy": accuracies[1],
        "flips": flips,
    }
    return comparison, list(original_predictions.notes)


def _size(path: Path) -> int:
    """Return the size in bytes of a file together with its external weights."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    external_files = {
        entry.value
        for t in graph.initializer
        if t.data_location == onnx.TensorProto.EXTERNAL
        for entry in t.external_data
        if entry.key == "location"
    }
    return path.stat().st_size + sum((path.parent / name).stat().st_size for name in external_files)


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Silence the quantizer's log, and turn what it raises into a UserError of one sentence."""
    disabled_level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"cannot work on a copy of {path} in {system_folder()} ({error.strerror or error}); free some space "
            "there, or set TMPDIR to another folder."
        ) from None
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"ONNX Runtime's quantizer cannot make {path} smaller ({type(error).__name__}: {first[:200]}); compress the "
            "network it was exported from, or leave layers in float with `keep=`."
        ) from error
    finally:
        logging.disable(disabled_level)
