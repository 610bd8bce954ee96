"""`fairpress bench`: size, speed and memory of models, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, split_list, write_output
from fairpress.cli.progress import ProgressBar
from fairpress.core.errors import UserError


@app.command
def bench(
    *models: str,
    runtime: str = "onnxruntime",
    batch: str | None = None,
    length: int | None = None,
    threads: int = 1,
    provider: str = "CPU",
    rounds: int | None = None,
    seconds: float = 20.0,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Compare models by bytes, time per call, memory, and speedup over the first.

    Example: fairpress bench base/ int8/ tiny/ --runtime onnxruntime,openvino --threads 2

    Parameters
    ----------
    models
        Model folders, or files (.onnx, .tflite, .xml, .pte)
        with one input of known shape, .onnx also of token ids.
        name=folder names a model; base/@openvino runs it on another runtime.
        The others are compared with the first.
    runtime
        onnxruntime, onnxruntime-exact, openvino, openvino-bf16;
        comma-separated. Other files run on those that load them.
    batch
        Rows per call, comma-separated; by default 1,32, and for tables 1,32,1000.
    length
        Token ids of every text, for models that read texts; by default 64, or fewer if a model reads fewer.
    threads
        Threads within an operator (intra-op).
    provider
        Execution provider of ONNX Runtime, such as CUDA or CoreML;
        `fairpress doctor` lists those of this installation.
    rounds
        Timed rounds per model; by default 7 to 101, as many as --seconds allow.
    seconds
        Seconds per batch size.
    json_
        Print JSON with every timing.
    """
    from fairpress import api
    from fairpress.reporting.benchmark_table import render

    named = {}
    for text in models:
        name, equals, path = text.partition("=")
        if equals and not Path(text).exists():
            if name in named:
                raise UserError(f"two models have the name {name!r}; give each another name.")
            named[name] = path
    if named and len(named) < len(models):
        raise UserError("either name all models (name=folder) or none.")
    sizes = None if batch is None else [_whole(part) for part in split_list(batch)]
    with ProgressBar("rounds") as progress:
        result = api.bench(
            named or list(models),
            runtime=split_list(runtime),
            batch=sizes,
            length=length,
            threads=threads,
            provider=provider,
            rounds=rounds,
            seconds=seconds,
            progress=progress,
        )
    if json_:
        write_output(json.dumps(result.to_dict(), indent=1))
        return 0
    for part in render(result):
        print_line(part)
    return 0


def _whole(text: str) -> int:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        raise UserError(
            f"--batch {text[:40]}: write numbers of rows separated by commas, such as 1,32."
        ) from None
