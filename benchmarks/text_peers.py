"""Files of a text model by several tools: bytes, processor time at 64 tokens, and agreement with the float file, in one run.

python benchmarks/text_peers.py MODEL_FOLDER DATASET [--recipes int8-dynamic,w4(block=32)] [--rows 400] [--rounds 7]

Peers that are not installed (optimum, NNCF) are named and left out. Every round runs all files in turns on one thread, so
that what else runs disturbs all of them; processor time leaves out what the machine gives to others.
"""

from __future__ import annotations

import argparse
import logging
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx

from fairpress.compression.apply import compress
from fairpress.compression.onnx.prepare import prepare_file
from fairpress.compression.recipes import parse
from fairpress.datasets.registry import load
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend, processor
from fairpress.runtime.backends.registry import open_session

RECIPES = "int8-dynamic;int8-dynamic(ranges=row);int8;w8(block=128);w4(block=32);w4(block=128);w4"
LENGTH = 64
Run = Callable[[np.ndarray], np.ndarray]


def peers(source: Path, folder: Path) -> dict[str, Path]:
    """Return the files that other tools make of a float file."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    logging.disable(logging.ERROR)
    made = {}
    for name, per_channel in (("quantize_dynamic", False), ("quantize_dynamic per channel", True)):
        made[name] = folder / f"{name}.onnx"
        if made[name].exists():
            continue
        quantize_dynamic(source, made[name], per_channel=per_channel, weight_type=QuantType.QInt8)
    for bits, block in ((4, 32), (4, 128), (8, 128)):
        name = f"MatMulNBits {bits} bits, block {block}"
        made[name] = folder / f"{name}.onnx"
        if made[name].exists():
            continue
        quantizer = MatMulNBitsQuantizer(
            onnx.load(source),
            bits=bits,
            block_size=block,
            is_symmetric=True,
            accuracy_level=4,
            quant_format=QuantFormat.QOperator,
            op_types_to_quantize=("MatMul", "Gather") if bits == 4 else ("MatMul",),
        )
        quantizer.process()
        onnx.save(quantizer.model.model, made[name])
    try:
        from optimum.onnxruntime import ORTQuantizer
        from optimum.onnxruntime.configuration import AutoQuantizationConfig
    except ImportError as error:  # also where it does not know this version of transformers
        print(f"optimum left out: {error}")
    else:
        config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
        if not (folder / "optimum").exists():
            ORTQuantizer(source).quantize(save_dir=folder / "optimum", quantization_config=config)
        (made["optimum avx512_vnni"],) = (folder / "optimum").glob("*.onnx")
    logging.disable(logging.NOTSET)
    return made


def compressed_by_nncf(source: Path, folder: Path) -> dict[str, Path]:
    """Return OpenVINO's files with weights compressed by NNCF."""
    if not find_spec("nncf"):
        print("NNCF is not installed: left out")
        return {}
    import nncf
    import openvino

    made = {}
    modes = {"int8": nncf.CompressWeightsMode.INT8_SYM, "int4, group 32": nncf.CompressWeightsMode.INT4_SYM}
    for name, mode in modes.items():
        options = {} if name == "int8" else {"group_size": 32, "all_layers": True}
        made[f"NNCF {name}"] = folder / f"nncf-{name[:4]}.xml"
        if made[f"NNCF {name}"].exists():
            continue
        model = nncf.compress_weights(openvino.Core().read_model(source), mode=mode, **options)
        openvino.save_model(model, made[f"NNCF {name}"], compress_to_fp16=False)
    return made


def openvino_run(path: Path) -> Run:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)
    return lambda ids: np.array(compiled(ids)[0])


def size(path: Path) -> int:
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def timed(runs: dict[str, Run], ids: np.ndarray, repeats: int, rounds: int) -> dict[str, np.ndarray]:
    """Return processor and wall milliseconds of a call [rounds, 2] for each file, all in turns."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for run in runs.values():
        run(ids)
    for _ in range(rounds):
        for name, run in runs.items():
            wall, own = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                run(ids)
            measured[name].append(
                (1e3 * (time.process_time() - own) / repeats, 1e3 * (time.perf_counter() - wall) / repeats)
            )
    return {name: np.array(values) for name, values in measured.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="a model folder that reads texts, with its weights")
    parser.add_argument("data", help="the dataset it was trained on")
    parser.add_argument("--recipes", default=RECIPES, help="separated by semicolons")
    parser.add_argument("--rows", type=int, default=400, help="test rows on which answers are compared")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=20, help="calls of a single text in a round")
    parser.add_argument("--keep", type=Path, help="a folder for the files; files there are used again")
    options = parser.parse_args()
    base, data = Artifact.load(options.model), load(options.data)
    tokenizer = base.text_tokenizer
    assert tokenizer is not None
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        source = folder / "fp32.onnx"
        (folder / "original.onnx").write_bytes(base.onnx)
        onnx.save(prepare_file(folder / "original.onnx"), source)  # weights as quantizers expect them
        paths = {"fp32": source}
        for recipe in options.recipes.split(";"):
            path = folder / f"{recipe}.onnx"
            if not path.exists():
                (small,) = compress([base], parse(recipe), [data], [0])
                path.write_bytes(small.onnx)
            paths[f"fairpress {recipe}"] = path
        paths |= peers(source, folder)
        runs: dict[str, Run] = {
            name: open_session(path.read_bytes(), Backend()).run for name, path in paths.items()
        }
        if find_spec("openvino"):
            paths |= {
                f"{name} @openvino": path
                for name, path in paths.items()
                if name == "fp32" or name.startswith("fairpress")
            }
            paths |= {f"{name} @openvino": path for name, path in compressed_by_nncf(source, folder).items()}
            runs |= {name: openvino_run(path) for name, path in paths.items() if name not in runs}
        report(runs, {name: size(path) for name, path in paths.items()}, data, tokenizer, options)


def report(runs: dict[str, Run], sizes: dict[str, int], data, tokenizer, options) -> None:  # type: ignore[no-untyped-def]
    rows = data.index("test")[: options.rows]
    encoded = tokenizer.encode(data.texts[rows])
    texts = [
        ids[None, :length].astype(np.int64) for ids, length in zip(encoded.ids, encoded.lengths, strict=True)
    ]
    answers = {name: np.concatenate([run(ids) for ids in texts]) for name, run in runs.items()}
    generator = np.random.default_rng(0)
    ids = generator.integers(tokenizer.size // 10, tokenizer.size, (32, LENGTH))
    single = timed(runs, ids[:1], options.repeats, options.rounds)
    many = timed(runs, ids, 1, options.rounds)
    print(f"{processor()}, {platform.system()}, one thread; load {Path('/proc/loadavg').read_text()[:14]}")
    print(
        f"processor ms, median of {options.rounds} (least … most); wall ms in parentheses; agreement on {len(rows)} rows"
    )
    print("| file | MB | smaller | 1 x 64 ms | faster | 32 x 64 ms | agreement | error |")
    print("|---|---|---|---|---|---|---|---|")
    spread = (answers["fp32"] - answers["fp32"].mean(1, keepdims=True)).std(0).mean()
    for name, values in answers.items():
        base = "fp32 @openvino" if "@openvino" in name else "fp32"
        own, wall = np.median(single[name], 0)
        faster = np.median(single[base][:, 0] / single[name][:, 0])
        same = (values.argmax(1) == answers["fp32"].argmax(1)).mean()
        error = np.sqrt(np.square(values - answers["fp32"]).mean()) / spread
        print(
            f"| {name} | {sizes[name] / 1e6:.1f} | {sizes['fp32'] / sizes[name]:.2f} x | {own:.2f} "
            f"({single[name][:, 0].min():.2f} … {single[name][:, 0].max():.2f}; {wall:.1f}) | {faster:.2f} x | "
            f"{np.median(many[name][:, 0]):.0f} | {same:.2%} | {error:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
