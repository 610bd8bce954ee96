"""Dynamically quantized convolutions against float ones in ONNX Runtime, paired in one run: why they are refused.

python benchmarks/dynamic_convolutions.py [side] [batch]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from fairpress.models import registry
from fairpress.models.export import export_many
from fairpress.runtime.backends.onnxruntime import operators, session

ROUNDS = 15


def main(side: int, batch: int) -> None:
    net = registry.build(registry.get("resnet18"), (3, side, side), 2).eval()
    example = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    (data,) = export_many(net, [net.state_dict()], torch.zeros((2, 3, side, side), dtype=torch.uint8))
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "f.onnx", Path(folder) / "q.onnx"
        source.write_bytes(data)
        quantize_dynamic(source, made, per_channel=True, weight_type=QuantType.QUInt8)
        sessions = {"fp32": session(data), "dynamic": session(made.read_bytes())}
        kernels = operators(made.read_bytes())["ConvInteger"]
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(ROUNDS):
        for name, own in sessions.items():  # in turns, so that what else runs disturbs both
            started = time.perf_counter()
            own.run(None, {"x": example.numpy()})
            times[name].append(time.perf_counter() - started)
    ratios = np.array(times["dynamic"][2:]) / np.array(times["fp32"][2:])
    print(f"resnet18, {side} px, batch {batch}: {kernels} convolutions as ConvInteger")
    for name, own in times.items():
        print(f"{name}: median {1000 * np.median(own[2:]):.1f} ms")
    print(f"dynamic takes {np.median(ratios):.2f} times as long ({ratios.min():.2f} … {ratios.max():.2f})")


if __name__ == "__main__":
    given = list(map(int, sys.argv[1:]))
    main(*(given + [64, 8][len(given) :]))
