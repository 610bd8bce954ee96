"""Files of a text model by several tools: bytes, time at 64 tokens, and agreement with the float file, in one run.

python benchmarks/text_peers.py MODEL_FOLDER DATASET [--recipes 'int8-dynamic;w4(block=32)'] [--keep FOLDER]

Peers that are not installed (optimum, NNCF) are named and left out. Every round calls all files on one thread, in a new
random order, so that what else runs disturbs all of them; processor time leaves out what the machine gives to others. Files
in the folder of --keep are used again.
"""

from __future__ import annotations

import argparse
import logging
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
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

RECIPES = "int8-dynamic;int8-dynamic(ranges=row);int8;w8(block=128);w4(block=32)"
LENGTH, MANY = 64, 32
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
    try:
        import nncf
    except ImportError as error:  # of NNCF, or of what it needs
        print(f"NNCF left out: {error}")
        return {}
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


def timed(runs: Mapping[str, Run], ids: np.ndarray, repeats: int, rounds: int) -> dict[str, np.ndarray]:
    """Return processor and wall milliseconds of a call [rounds, 2] for each file; a round times all in random order."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    generator = np.random.default_rng(0)
    for run in runs.values():
        run(ids)
    for _ in range(rounds):
        for name in generator.permutation(list(runs)).tolist():
            run = runs[name]
            wall, own = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                run(ids)
            own, wall = time.process_time() - own, time.perf_counter() - wall
            measured[name].append((1e3 * own / repeats, 1e3 * wall / repeats))
    return {name: np.array(values) for name, values in measured.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="a model folder that reads texts, with its weights")
    parser.add_argument("data", help="the dataset it was trained on")
    parser.add_argument("--recipes", default=RECIPES, help="separated by semicolons")
    parser.add_argument("--rows", type=int, default=200, help="test rows on which answers are compared")
    parser.add_argument("--rounds", type=int, default=7, help="of calls with a single text; a third with 32")
    parser.add_argument("--repeats", type=int, default=5, help="calls with a single text in a round")
    parser.add_argument("--without-openvino", action="store_true")
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
        if find_spec("openvino") and not options.without_openvino:
            paths |= {
                f"{name} @openvino": path
                for name, path in paths.items()
                if name == "fp32" or name.startswith("fairpress")
            }
            paths |= {f"{name} @openvino": path for name, path in compressed_by_nncf(source, folder).items()}
            runs |= {name: openvino_run(path) for name, path in paths.items() if name not in runs}
        report(runs, {name: size(path) for name, path in paths.items()}, data, tokenizer, options)


def report(runs: dict[str, Run], sizes: dict[str, int], data, tokenizer, options) -> None:  # type: ignore[no-untyped-def]
    began = load_average()
    generator = np.random.default_rng(0)
    ids = generator.integers(tokenizer.size // 10, tokenizer.size, (MANY, LENGTH))
    single = timed(runs, ids[:1], options.repeats, options.rounds)
    many = timed(runs, ids, 1, max(1, options.rounds // 3))
    rows = data.index("test")[: options.rows]
    encoded = tokenizer.encode(data.texts[rows])
    texts = [i[None, :n].astype(np.int64) for i, n in zip(encoded.ids, encoded.lengths, strict=True)]
    answers = {name: np.concatenate([run(text) for text in texts]) for name, run in runs.items()}
    spread = (answers["fp32"] - answers["fp32"].mean(1, keepdims=True)).std(0).mean()
    print(
        f"{processor()}, {platform.system()}, one thread; load {began} at the start, {load_average()} at the end"
    )
    print(f"milliseconds of a call, median of {options.rounds} (least … most); agreement on {len(rows)} rows")
    print(
        f"| file | MB | smaller | 1 x {LENGTH}: processor | wall | faster (processor) "
        f"| {MANY} x {LENGTH}: processor | faster | agreement | error |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, values in answers.items():
        base = "fp32 @openvino" if "@openvino" in name else "fp32"
        own, wall = (spelled(single[name][:, i]) for i in (0, 1))
        faster = np.median(single[base][:, 0] / single[name][:, 0])
        faster_many = np.median(many[base][:, 0] / many[name][:, 0])
        same = (values.argmax(1) == answers["fp32"].argmax(1)).mean()
        error = np.sqrt(np.square(values - answers["fp32"]).mean()) / spread
        print(
            f"| {name} | {sizes[name] / 1e6:.1f} | {sizes['fp32'] / sizes[name]:.2f} x | {own} | {wall} "
            f"| {faster:.2f} x | {np.median(many[name][:, 0]):.0f} | {faster_many:.2f} x "
            f"| {same:.1%} | {error:.3f} |",
            flush=True,
        )


def load_average() -> str:
    """Return how many processes wanted a processor in the last minute, if the system says it."""
    path = Path("/proc/loadavg")
    return path.read_text().split()[0] if path.exists() else "unknown"


def spelled(values: np.ndarray) -> str:
    return f"{np.median(values):.2f} ({values.min():.2f} … {values.max():.2f})"


if __name__ == "__main__":
    main()
