"""How far roundings move a quantized network: its graph beside fp32, its file beside its graph, its graph beside itself.

    FAIRPRESS_DATA=… python benchmarks/roundings.py MODEL_FOLDER…

Each folder's network is quantized to 8 bits, with `reduce_range`, so that sums do not saturate. The graph beside itself is
the same graph with the steps of all activations changed by about the share that a column tells. That changes logits by
about this share; whatever moves more hangs on values that fall on the other side of a rounding. Errors are root mean
squares over the spread of the graph's logits (`checks.check_agreement`); in brackets the share of 512 calibration rows
that get another class.
"""

from __future__ import annotations

import sys

import torch

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantization.batch_quantizer import (
    CHECKED_ROWS,
    BatchQuantizer,
    perturb_scales,
    quantize_many,
)
from fairpress.compression.quantization.calibrate import logits_in_chunks
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.verification.checks import compare_outputs
from fairpress.core.errors import FairpressError, UserError
from fairpress.models import registry
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.benchmark.inputs import available_data

SHARES = (1e-6, 1e-5, 1e-4, 1e-3)


def row(folder: str) -> str:
    """Return a line of the table."""
    base = Artifact.load(folder)
    data = available_data(base.card)
    if data is None:
        raise UserError(f"the data of {folder} are not on this machine as they were; set FAIRPRESS_DATA.")
    rows = torch.from_numpy(data.part("calibration").inputs[:CHECKED_ROWS])
    architecture = {k: v for k, v in base.card.architecture.items() if k != "name"}
    name = str(base.card.architecture["name"])
    network = registry.build(registry.get(name, **architecture), rows.shape[1:], len(base.card.classes))
    assert base.weights is not None
    state = from_bytes(base.weights)
    try:
        (made,) = quantize_many(
            BatchQuantizer.from_module(network, rows), [state], [rows], Scheme(8, reduce_range=True)
        )
    except VerificationError as error:
        return f"| {name} | refused: {error} |"
    graph = made.graph(rows).numpy()
    others = [run(base.onnx, rows.numpy()), run(made.onnx, rows.numpy())]
    for share in SHARES:
        other = perturb_scales(made.prepared, made.state, relative_change=share)
        others.append(logits_in_chunks(made.prepared, other, rows, rounded=True).numpy())
    found = [compare_outputs(other, graph) for other in others]
    return f"| {name} | " + " | ".join(f"{error:.1%} ({1 - same:.1%})" for same, error in found) + " |"


def main(folders: list[str]) -> None:
    """Print the table."""
    heads = ["network", "graph vs fp32", "file vs graph"]
    heads += [f"graph vs itself, {share:.0e}" for share in SHARES]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for folder in folders:
        print(row(folder), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    try:
        main(sys.argv[1:])
    except FairpressError as error:
        raise SystemExit(f"Error: {error}") from None
