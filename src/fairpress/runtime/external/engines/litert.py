"""LiteRT files (``.tflite``) on LiteRT, formerly TensorFlow Lite (the extra ``litert``)."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import MissingExtra, UserError, listed
from fairpress.core.files import require_regular
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.external.engines.litert_engine import LiteRtEngine, describe_tensor, without_log
from fairpress.runtime.external.engines.litert_file import (
    IDENTIFIER,
    LiteRtFile,
    LiteRtSignature,
    one_node,
    read_file,
)
from fairpress.runtime.external.engines.trial import try_in_child

SERVING = "serving_default"
MAX_BYTES = 2**31


def load_litert(path: Path, runtime: Backend) -> LiteRtEngine:
    """Load a LiteRT file, after a trial in a process of its own.

    Raises
    ------
    UserError
        The path is not a LiteRT file, or LiteRT cannot load it.
    MissingExtra
        LiteRT is not installed.
    """
    if util.find_spec("ai_edge_litert") is None:
        raise MissingExtra("Running a .tflite file", "litert")
    require_regular(path)
    _check_header(path)
    try_in_child(open_litert, path, runtime, "LiteRT")
    return open_litert(path, runtime)


def open_litert(path: Path, runtime: Backend, *, as_stored: bool = False) -> LiteRtEngine:
    """Load a LiteRT file in this process; values of quantized tensors are passed as floats, or as the file stores them.

    Raises UserError if LiteRT cannot load it.
    """
    data = path.read_bytes()
    try:
        interpreter = _interpreter(data, runtime)
    except (ValueError, RuntimeError) as error:
        raise UserError(_cannot_load(path, error)) from None
    file = read_file(data)
    signature, remarks = _choose_signature(file, interpreter)
    runner, details = None, (interpreter.get_input_details(), interpreter.get_output_details())
    if signature.subgraph:
        with without_log():
            runner = interpreter.get_signature_runner(signature.name)
        details = (list(runner.get_input_details().values()), list(runner.get_output_details().values()))
    shapes = {d["index"]: d for kind in details for d in kind}
    if any(i not in shapes for m in (signature.inputs, signature.outputs) for i in m.values()):
        raise UserError(
            f"{path}: its signature {signature.name!r} names tensors that are not inputs or outputs of its graph; convert "
            "it again."
        )
    tensors = tuple(
        tuple(describe_tensor(name, shapes[index], path, as_stored) for name, index in mapping.items())
        for mapping in (signature.inputs, signature.outputs)
    )
    engine = LiteRtEngine(path, runtime, interpreter, file, signature, (tensors[0], tensors[1]), remarks)
    engine._runner = runner
    return engine


def _interpreter(data: bytes, runtime: Backend) -> Any:
    """Return LiteRT's interpreter of a file, ready to run. Raises LiteRT's exceptions."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_REF if runtime.variant == "reference" else OpResolverType.AUTO
    with without_log():
        interpreter = Interpreter(
            model_content=data, num_threads=runtime.threads, experimental_op_resolver_type=resolver
        )
        interpreter.allocate_tensors()
    return interpreter


def negates(runtime: Backend) -> bool:
    """Return whether LiteRT runs a network of one node, which negates a number."""
    interpreter = _interpreter(one_node(), runtime)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 1), np.float32))
    interpreter.invoke()
    return bool(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0, 0] == -1)


def _choose_signature(file: LiteRtFile, interpreter: Any) -> tuple[LiteRtSignature, tuple[str, ...]]:
    """Return the function to run, and a note if there are several: the one for serving, else the first."""
    if not file.signatures:
        inputs, outputs = (
            {str(d["name"]): int(d["index"]) for d in details}
            for details in (interpreter.get_input_details(), interpreter.get_output_details())
        )
        return LiteRtSignature("", 0, inputs, outputs), ()
    chosen = next((s for s in file.signatures if s.name == SERVING), file.signatures[0])
    others = [s.name for s in file.signatures if s is not chosen]
    if not others:
        return chosen, ()
    return chosen, (f"it has several signatures; {chosen.name!r} is run, and not {listed(others)}",)


def _check_header(path: Path) -> None:
    """Raise UserError if a file is missing, too large, or does not begin like a LiteRT file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(8)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; check the path.") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error}); check its permissions.") from None
    if header[4:8] != IDENTIFIER:
        raise UserError(f"{path} is not a LiteRT file; convert the model again.")
    if size > MAX_BYTES:
        raise UserError(f"{path} is larger than 2 GiB, the limit of a LiteRT file; use a smaller model.")


def _cannot_load(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "Flatbuffer" in text:
        return f"{path} is damaged: it is not a whole LiteRT file; copy or convert it again."
    if "unresolved custom op" in text:
        name = text.partition("unresolved custom op: ")[2].split(".")[0][:60]
        return (
            f"{path} needs the custom operator {name!r}, which LiteRT's Python package does not have; predict in the app "
            "that has it, and audit the table."
        )
    if "Select TensorFlow op" in text:
        return (
            f"{path} needs operators of TensorFlow, which LiteRT alone does not have; convert it without "
            "SELECT_TF_OPS, or predict in the app and audit the table."
        )
    return f"LiteRT cannot load {path} ({text[:200]}); convert it again."
