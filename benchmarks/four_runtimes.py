"""Does the runtime change the answers, and whose? One network on ONNX Runtime, OpenVINO, ExecuTorch and LiteRT.

``python benchmarks/four_runtimes.py BASE --out FOLDER [--rows N] [--by race,age_group]``

BASE is a model folder of images or texts with its data. Files that FOLDER holds already are not made again: ``int8/``
(``compress --recipe int8``), ``float.pte`` and ``int8.pte`` (``export``), ``float-litert.tflite`` (litert-torch) and
``int8-litert.tflite`` (ai-edge-quantizer: static on the calibration rows for images, weights alone for texts). Written are
``predictions.parquet`` of the test rows (all, or N of them drawn with seed 0) and ``table.md``: answers that differ from
fp32 and from the int8 file on ONNX Runtime, of 1,000 with exact 95 % intervals; accuracy; the group that changes most
answers; bytes; the median time of a call of one row with quartiles (not with ``--no-bench``).

Packages beside the extras ``openvino``, ``executorch`` and ``litert``, where the ``.tflite`` files are made here:
``litert-torch``, ``ai-edge-quantizer``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.stats import binomtest

import fairpress as fp
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.reload import reload
from fairpress.runtime.artifact import Artifact

CALIBRATION_ROWS = 256
MODELS = {
    "fp32": "{base}",
    "fp32, OpenVINO": "{base}@openvino",
    "fp32, ExecuTorch": "{out}/float.pte",
    "fp32, LiteRT": "{out}/float-litert.tflite",
    "int8": "{out}/int8",
    "int8, exact sums": "{out}/int8@onnxruntime-exact",
    "int8, OpenVINO": "{out}/int8@openvino",
    "int8, ExecuTorch": "{out}/int8.pte",
    "int8, LiteRT": "{out}/int8-litert.tflite",
}


def make_files(base: Artifact, data: Dataset, out: Path) -> None:
    """Make the files that are missing."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "int8").exists():
        fp.compress(base, "int8", data=data).save(out / "int8")
    for name, recipe in (("float", "fp32"), ("int8", "int8")):
        if not (out / f"{name}.pte").exists():
            fp.export(base, recipe).save(out / f"{name}.pte")
    if not (out / "float-litert.tflite").exists():
        write_float_tflite(base, data, out / "float-litert.tflite")
    if not (out / "int8-litert.tflite").exists():
        write_integer_tflite(data, out / "float-litert.tflite", out / "int8-litert.tflite")
    for name in ("float", "int8"):
        write_settings(out / f"{name}.model.yaml", out / f"{name}-litert.model.yaml")


def write_settings(source: Path, target: Path) -> None:
    """Adapt the settings of a program to a .tflite file, whose inputs and outputs have other names."""
    from ruamel.yaml import YAML

    yaml = YAML()
    settings = yaml.load(source.read_text(encoding="utf-8"))
    settings.pop("output", None)
    if "inputs" in settings:
        (role,) = settings["inputs"].values()
        settings["inputs"] = {"args_0": role}
    with target.open("w", encoding="utf-8") as file:
        yaml.dump(settings, file)


def write_float_tflite(base: Artifact, data: Dataset, path: Path) -> None:
    """Convert the float network with litert-torch; it reads one row in a call."""
    import litert_torch
    import torch

    from fairpress.compression.apply import float_network
    from fairpress.models.initialize import initialize

    network, encoded = float_network(base, data)
    module = initialize(network.architecture, encoded)
    module.load_state_dict(dict(network.state))
    row = torch.from_numpy(np.asarray(encoded.inputs[encoded.index("calibration")[:1]]))
    litert_torch.convert(module.eval(), (row.long() if data.kind == "text" else row,)).export(str(path))


def write_integer_tflite(data: Dataset, source: Path, path: Path) -> None:
    """Quantize a float file: weights and activations of images, weights alone of texts."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    if data.kind == "text":
        chosen = quantizer.Quantizer(str(source), recipe.weight_only_wi8_afp32())
        chosen.quantize().export_model(str(path), overwrite=True)
        return
    (key, signature) = next(iter(Interpreter(str(source)).get_signature_list().items()))
    rows = data.index("calibration")[:CALIBRATION_ROWS]
    feeds = [{signature["inputs"][0]: np.asarray(data.inputs[row : row + 1])} for row in rows]
    chosen = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    chosen.quantize(chosen.calibrate({key: feeds})).export_model(str(path), overwrite=True)


def predictions(base: Path, data: Dataset, out: Path, rows: int | None) -> pa.Table:
    """Return the predictions of every file for the test rows; a finished table is read."""
    target = out / "predictions.parquet"
    if not target.exists():
        models = {name: path.format(base=base, out=out) for name, path in MODELS.items()}
        pq.write_table(fp.predict(models, data), target)
    table = pq.read_table(target)
    if rows is not None and rows < table.num_rows:
        drawn = np.random.default_rng(0).choice(table.num_rows, rows, replace=False)
        table = table.take(np.sort(drawn))
    return table


def of_thousand(changed: int, rows: int) -> str:
    """Return a share of rows, of 1,000, with its exact 95 % interval."""
    interval = binomtest(changed, rows).proportion_ci(0.95, "exact")
    return f"{1000 * changed / rows:.1f} [{1000 * interval.low:.1f}, {1000 * interval.high:.1f}]"


def different(table: pa.Table, one: str, other: str) -> int:
    return int(pc.sum(pc.not_equal(table[one], table[other])).as_py() or 0)


def most_changed(table: pa.Table, model: str, by: Sequence[str], min_rows: int = 100) -> str:
    """Return the group of at least `min_rows` rows with the largest share of changed answers."""
    shares = []
    for attribute in by:
        for group in pc.unique(table[attribute]).to_pylist():
            part = table.filter(pc.equal(table[attribute], group))
            if part.num_rows >= min_rows:
                changed = different(part, "fp32", model)
                shares.append((changed / part.num_rows, str(group), changed, part.num_rows))
    _, group, changed, rows = max(shares)
    return f"{group} {of_thousand(changed, rows)}, n = {rows:,}" if changed else "none"


def bytes_of(path: str) -> int:
    """Return the bytes of a file, or of the network in a folder."""
    file = Path(path.partition("@")[0])
    return (file / "model.onnx" if file.is_dir() else file).stat().st_size


def milliseconds(base: Path, out: Path, texts: bool) -> dict[str, str]:
    """Return the median time of a call of one row, with quartiles; of texts, for ONNX files alone."""
    models = {
        name: path.format(base=base, out=out)
        for name, path in MODELS.items()
        if "exact" not in name and not (texts and path.endswith((".pte", ".tflite")))
    }
    measured: dict[str, str] = {}
    for measurement in fp.bench(models, batch=1).measurements:
        told = measurement.to_dict()["milliseconds"]
        low, high = told["quartiles"]
        measured[measurement.model] = f"{told['median']:.2f} [{low:.2f}, {high:.2f}]"
    return measured


def main() -> None:
    """Make, predict, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--by", default="")
    parser.add_argument("--no-bench", action="store_true")
    options = parser.parse_args()
    base = Artifact.load(options.base)
    data = reload(base.card.data)
    make_files(base, data, options.out)
    table = predictions(options.base, data, options.out, options.rows)
    by = options.by.split(",") if options.by else list(data.attributes)
    times = {} if options.no_bench else milliseconds(options.base, options.out, data.kind == "text")
    rows, lines = table.num_rows, []
    for name, path in MODELS.items():
        right = int(pc.sum(pc.equal(table[name], table["label"])).as_py() or 0)
        lines.append(
            [
                name,
                "" if name == "fp32" else of_thousand(different(table, "fp32", name), rows),
                of_thousand(different(table, "int8", name), rows) if name.startswith("int8,") else "",
                f"{100 * right / rows:.2f}",
                "" if name == "fp32" else most_changed(table, name, by),
                f"{bytes_of(path.format(base=options.base, out=options.out)):,}",
                *([times.get(name, "")] if times else []),
            ]
        )
    heads = ["file and runtime", "differs from fp32, of 1,000", "from int8, of 1,000", "right, %"]
    heads += ["group that changes most", "bytes", *(["ms a row"] if times else [])]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *lines])
    (options.out / "table.md").write_text(f"{text}\n\n{rows:,} test rows of {data.name}.\n", encoding="utf-8")
    print(text)
    compressed = [name for name in MODELS if name != "fp32"]
    report = fp.audit(table, baseline="fp32", compressed=compressed, by=by)
    for name, comparison in zip(compressed, report.comparisons, strict=True):
        print(f"{name}: {comparison.headline}")


if __name__ == "__main__":
    main()
