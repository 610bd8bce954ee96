"""Compress an ONNX file made elsewhere, whose network nobody has: by ONNX Runtime's own quantizer. No torch.

What the quantizer does not decide is fairpress's: which calibration rows set the ranges, that the file is held against
the one it was made from, and how it is to be run.
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

from fairpress.compression.onnx.prepare import LAYERS, QUANTIZED, prepare_file, weighted_nodes
from fairpress.compression.quantization.calibration_sampling import sample_rows
from fairpress.compression.recipes import Recipe
from fairpress.compression.step import Step
from fairpress.compression.steps.dynamic import QuantizeDynamic
from fairpress.compression.steps.quantize import Quantize
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.temporary import outside
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.backends.onnxruntime import kernels
from fairpress.runtime.external.model import ExternalModel, open_external

if TYPE_CHECKING:
    import onnx

SUPPORTED_STEPS = "int8, int8-dynamic and w4"
CALIBRATION_ROWS = ("rows", "calibration", "by", "draw", "reduce_range", "keep")
PRODUCTS = ("MatMul", "Gemm")
BLOCK = 32  # weights that share a scale, at 4 bits
ROWS_AT_ONCE, CHECKED_ROWS = 64, 256


@dataclass(frozen=True)
class CompressedFile:
    """A compressed ONNX file, how it is run, and what was found of it."""

    onnx: bytes
    model_yaml: str
    report: Mapping[str, Any]


def compress_file(
    path: Path,
    recipe: Recipe,
    dataset: Dataset,
    config: Path | None = None,
    seed: int = 0,
) -> CompressedFile:
    """Return a smaller file that is run as the given one is.

    Test rows are taken away first. The report tells sizes, how many layers compute in integers, which calibration rows were
    used, and on validation rows the accuracy of both files and how many of their answers differ.

    Parameters
    ----------
    path
        The file; weights may lie in files beside it.
    config
        What the file does not say, as `runtime.foreign.open_foreign` reads it.

    Raises
    ------
    UserError
        A recipe or option that needs more than a file, a file that is quantized already or has nothing to quantize, or
        one that ONNX Runtime's quantizer cannot make smaller.
    """
    step = check_recipe(recipe)
    data = dataset.development()
    before = open_external(path, data, config)
    model = prepare_file(path)
    _look_at_layers(model, path, step, recipe)
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fairpress-onnx-") as folder:
        # ONNX Runtime's quantizer writes beside the file that it reads: never beside the user's.
        source, made = Path(folder) / "source.onnx", Path(folder) / "made.onnx"
        with _in_words(path):
            source.write_bytes(model.SerializeToString(deterministic=True))
            _refuse_other_answers(before, replace(before, path=source), data)
            if isinstance(step, QuantizeDynamic):
                _dynamic(source, made, step)
            elif step.activation_bits == 32:
                _weights_only(source, made, step)
            else:
                which, told = sample_rows(data, step.rows, step.calibration, step.by, (step.draw, seed))
                told = {"calibration_rows": len(which), **told, "activation_ranges": "minmax"}
                rows = data.index("calibration")[which]
                own = replace(before, path=source)
                _static(source, made, Path(folder) / "prepared.onnx", step, own, data, rows)
        content = made.read_bytes()
        _something_happened(content, path, recipe)
        with _in_words(path):
            try:
                found = kernels(content)
                compared, notes = _compared(before, replace(before, path=made), data)
            except UserError as error:
                raise UserError(
                    f"what ONNX Runtime's quantizer made of {path} cannot be run ({str(error)[:200]}); leave layers in "
                    "float with keep=, or compress the network it came from."
                ) from None
        report = {
            "recipe": str(recipe),
            "made_from": path.name,
            "bytes": len(content),
            "bytes_before": _size(path),
            "layers": {"integer": found.integer, "float": found.floating},
            **told,
            **({"notes": notes} if notes else {}),
            "validation": compared,
        }
    return CompressedFile(content, before.as_yaml(), report)


def check_recipe(recipe: Recipe) -> Quantize | QuantizeDynamic:
    """Return the one step that a bare file can take. Raises UserError for any other recipe or option, naming it."""
    step = recipe.steps[0] if len(recipe.steps) == 1 else None
    static = type(step) is Quantize and (step.weight_bits, step.activation_bits) in ((8, 8), (4, 32))
    if step is None or not (static or type(step) is QuantizeDynamic):
        raise UserError(
            f"an ONNX file has no network to go on from, so that {recipe} cannot be made of it; "
            f"{SUPPORTED_STEPS} can, and a model "
            "folder takes every recipe."
        )
    allowed: tuple[str, ...] = ("keep",)
    if type(step) is Quantize and step.activation_bits == 8:
        allowed = CALIBRATION_ROWS
    _only(step, allowed, recipe)
    assert isinstance(step, Quantize | QuantizeDynamic)
    return step


def _only(step: Step, allowed: tuple[str, ...], recipe: Recipe) -> None:
    same = {"weight_bits", "activation_bits"}
    for name, value in step.model_dump().items():
        if name in same or name in allowed or value == type(step).model_fields[name].default:
            continue
        if name in ("weights", "activations") and value == "minmax":
            continue  # what ONNX Runtime does
        raise UserError(
            f"recipe {str(recipe)!r}: {name} is not for ONNX files made elsewhere; ONNX Runtime's quantizer takes "
            f"{', '.join(allowed)} here."
        )


def _static(
    path: Path,
    made: Path,
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
            self.chunks = model.feeds(data, rows, ROWS_AT_ONCE)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.chunks, None)

    # Constants folded, batch norms with them; symbolic shapes would need one more package.
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    ort.quantize_static(
        str(prepared),
        str(made),
        Reader(),
        quant_format=ort.QuantFormat.QDQ,
        op_types_to_quantize=list(LAYERS),  # all operators, and a transformer loses its answers
        per_channel=True,
        reduce_range=step.reduce_range,
        activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8,
        nodes_to_exclude=list(step.keep),
        calibrate_method=ort.CalibrationMethod.MinMax,
        extra_options=_float_by_default(),
    )


def _dynamic(path: Path, made: Path, step: QuantizeDynamic) -> None:
    from onnxruntime import quantization as ort

    ort.quantize_dynamic(
        str(path),
        str(made),
        op_types_to_quantize=list(PRODUCTS),  # convolutions would run slower than in float
        per_channel=True,
        weight_type=ort.QuantType.QInt8,
        nodes_to_exclude=_kept(step.keep),
        extra_options=_float_by_default(),
    )


def _float_by_default() -> dict[str, Any]:
    """Return the option for values whose type onnx cannot infer, such as those behind an operator of scikit-learn's."""
    import onnx

    return {"DefaultTensorType": onnx.TensorProto.FLOAT}


def _weights_only(path: Path, made: Path, step: Quantize) -> None:
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
        nodes_to_exclude=_kept(step.keep),
        op_types_to_quantize=("MatMul",),
    )
    quantizer.process()
    made.write_bytes(quantizer.model.model.SerializeToString(deterministic=True))


def _kept(names: Sequence[str]) -> list[str]:
    """Return the names of nodes to keep, and those that ONNX Runtime gives them when it makes a MatMul of a Gemm."""
    return [*names, *(f"{name}_MatMul" for name in names)]


def _look_at_layers(
    model: onnx.ModelProto, path: Path, step: Quantize | QuantizeDynamic, recipe: Recipe
) -> None:
    """Refuse a file without anything that this recipe makes smaller, and the name of a layer to keep that there is not."""
    names = [n.name for n in model.graph.node if n.op_type in LAYERS and n.name]
    for name in step.keep:
        if name not in names:
            raise UserError(f"{path} has no layer {name!r} to keep in float." + did_you_mean(name, names))
    static = isinstance(step, Quantize) and step.activation_bits == 8
    if not weighted_nodes(model.graph, LAYERS if static else PRODUCTS):
        raise UserError(_nothing(path, recipe))


def _refuse_other_answers(before: ExternalModel, own: ExternalModel, data: Dataset) -> None:
    """Raise UserError where the copy that is quantized does not answer as the user's file does."""
    rows = data.index("calibration")[:CHECKED_ROWS]
    one, other = before.answers(data, rows), own.answers(data, rows)
    if one.probabilities is None or other.probabilities is None:
        same = bool((one.decided == other.decided).all())
    else:
        same = bool(np.allclose(one.probabilities, other.probabilities, atol=1e-4))
    if not same:
        raise UserError(
            f"{before.path} answers differently once it is converted to the opset that quantized files need; export it with "
            "opset 13 or later."
        )


def _something_happened(content: bytes, path: Path, recipe: Recipe) -> None:
    import onnx

    nodes = onnx.load_from_string(content).graph.node
    if not QUANTIZED & {n.op_type for n in nodes}:
        raise UserError(_nothing(path, recipe))


def _nothing(path: Path, recipe: Recipe) -> str:
    static = str(recipe).startswith("int8") and "dynamic" not in str(recipe)
    what = "convolution or product" if static else "product"
    return f"{path} has no layer that {recipe} could make smaller: no {what} of matrices with stored weights is left."


def _compared(before: ExternalModel, after: ExternalModel, data: Dataset) -> tuple[dict[str, Any], list[str]]:
    """Return on validation rows, decided as `predict` does: accuracy of both files, and how many decisions differ.

    Second come sentences on the file that was there before, which should make a reader look twice.
    """
    index = data.index("validation")
    if not len(index):
        return {"rows": 0}, list(before.notes)
    own = before.answers(data, index)
    decided = [own.decided, after.answers(data, index).decided]
    right = [float((d == data.labels[index]).mean()) for d in decided]
    flips = int((decided[0] != decided[1]).sum())
    counted = {"rows": len(index), "accuracy_before": right[0], "accuracy": right[1], "flips": flips}
    return counted, list(own.notes)


def _size(path: Path) -> int:
    """Return the bytes of a file and of the weights that lie beside it."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    beside = {
        entry.value
        for t in graph.initializer
        if t.data_location == onnx.TensorProto.EXTERNAL
        for entry in t.external_data
        if entry.key == "location"
    }
    return path.stat().st_size + sum((path.parent / name).stat().st_size for name in beside)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Let the quantizer work in silence, and say in one sentence what it could not."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"cannot work on a copy of {path} in {outside()} ({error.strerror or error}); free some space "
            "there, or set TMPDIR to another folder."
        ) from None
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"ONNX Runtime's quantizer cannot make {path} smaller ({type(error).__name__}: {first[:200]}); compress the "
            "network it came from, or leave layers in float with keep=."
        ) from error
    finally:
        logging.disable(before)
