"""Compare a program with the network or graph it was made from, by running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantized_graph.row_chunks import Rows, by_chunk
from fairpress.compression.verification.checks import MAX_ERROR, MIN_AGREEMENT, compare_outputs
from fairpress.models.equivalence import Reference, check_equivalence
from fairpress.runtime.backends.executorch import (
    ExecuTorchError,
    ExecuTorchProgram,
    captured_log,
    load_program,
)

Compute = Callable[[Tensor], np.ndarray]


def open_for_check(data: bytes) -> ExecuTorchProgram:
    """Load a fresh program. Raises VerificationError if ExecuTorch cannot."""
    try:
        return load_program(data)
    except ExecuTorchError as error:
        raise VerificationError(
            f"ExecuTorch cannot load the program that it has made ({error}); keep the layers at fault in float with "
            "`keep=`, or take fp32."
        ) from None


def runner(program: ExecuTorchProgram, max_batch: int) -> Compute:
    """Return a function from inputs [rows, …] to the program's first output [rows, …], at most `max_batch` rows a call."""

    def compute(rows: Tensor) -> np.ndarray:
        with captured_log() as log:
            return np.concatenate([program.run([part.numpy()], log)[0] for part in rows.split(max_batch)])

    return compute


def check_float(compute: Compute, expected: Reference) -> None:
    """Raise EquivalenceError unless a program gives the outputs of its network, up to float rounding."""
    check_equivalence(compute, expected, "the program")


def check_quantized(compute: Compute, graph: GraphModule, rows: Rows) -> dict[str, Any]:
    """Return how a program agrees with the converted graph that it was made from, run by torch.

    The error is the root mean square of the difference of logits, divided by their spread over rows. The graph computes in
    floats between conversions, XNNPACK in integers, so that a value in the middle between two integers may go either way.

    Raises
    ------
    VerificationError
        Predictions and logits differ by more than rounding does.
    """
    with torch.no_grad():
        expected = by_chunk(graph, rows).numpy()
    logits = by_chunk(lambda part: torch.from_numpy(compute(part)), rows).numpy()
    agreement, error = compare_outputs(logits, expected)
    if agreement < MIN_AGREEMENT and error > MAX_ERROR:
        raise VerificationError(
            f"the program agrees with its graph on only {agreement:.1%} of {len(rows)} predictions, and its logits differ "
            f"by {error:.0%} of their spread; train the network longer, or keep layers in float with `keep=`."
        )
    different = int((logits.argmax(1) != expected.argmax(1)).sum())
    return {"rows": len(rows), "different_from_graph": different, "error_against_graph": error}
