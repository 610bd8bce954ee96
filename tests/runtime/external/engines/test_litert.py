"""LiteRT files give what arithmetic says: floats, integers with their scales, images, several inputs, token ids."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from fairpress import api, cli, datasets
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Task
from fairpress.runtime.backends.registry import choose
from fairpress.runtime.external.model import open_external
from fairpress.runtime.predict import notes_of, predictions
from tflite_files import TfliteFile, convolution, linear, linear_int8, schema
from tiny_texts import CLASSES, text_dataset, tokenizer

WEIGHTS = np.array([[-0.75, 0.35, -0.15], [0.75, -0.35, 0.15]], np.float32)
BIAS = np.array([-0.1, 0.1], np.float32)
COLUMNS = ["age", "visits", "score"]


def people(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3))
    y = x @ WEIGHTS[1] + BIAS[1] + 0.25 * rng.normal(size=rows) > 0
    table = pd.DataFrame(x, columns=COLUMNS).round(4)
    return table.assign(sex=rng.choice(["F", "M"], rows), ill=np.where(y, "yes", "no"))


@pytest.fixture
def data(tmp_path):
    people().to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "my.yaml").write_text(
        'path: people.csv\nlabel: ill\npositive: "yes"\nfeatures: [age, visits, score]\nsensitive: [sex]\n',
        encoding="utf-8",
    )
    return datasets.load(str(tmp_path / "my.yaml"))


def write(path, content: bytes):
    path.write_bytes(content)
    return path


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def predicted(path, dataset, runtime="litert"):
    """Return the probabilities of all rows, and the notes."""
    backend = choose(runtime)
    model = open_external(path, dataset, None, backend)
    found = model.answers(dataset, np.arange(len(dataset)), backend)
    return found.probabilities, found.notes


@pytest.mark.parametrize(
    "options", [{}, {"rows": 64}, {"free_rows": True}, {"softmax": True}, {"signed": False}]
)
@pytest.mark.parametrize("runtime", ["litert", "litert-reference"])
def test_floats_are_those_of_numpy(tmp_path, data, options, runtime):
    path = write(tmp_path / "m.tflite", linear(WEIGHTS, BIAS, **options))
    scores, notes = predicted(path, data, runtime)
    np.testing.assert_allclose(scores, softmax(data.inputs @ WEIGHTS.T + BIAS), atol=1e-6)
    assert notes == ()


def test_a_file_without_a_signature_has_the_names_of_its_tensors(tmp_path, data):
    path = write(tmp_path / "m.tflite", linear(WEIGHTS, BIAS, signed=False))
    (tmp_path / "m.model.yaml").write_text("output: StatefulPartitionedCall:0\n", encoding="utf-8")
    assert open_external(path, data).config.output == "StatefulPartitionedCall:0"
    (tmp_path / "m.model.yaml").write_text("output: StatefulPartitionedCal\n", encoding="utf-8")
    with pytest.raises(UserError, match="Did you mean 'StatefulPartitionedCall:0'"):
        open_external(path, data)


@pytest.mark.parametrize(
    ("dtype", "scales", "zero_points"),
    [
        (np.int8, (0.02, 0.01, 0.03), (3, -7)),
        (np.uint8, (0.02, 0.01, 0.03), (120, 130)),
        (np.int16, (0.0002, 0.01, 0.0002), (0, 0)),
    ],
)
@pytest.mark.parametrize("runtime", ["litert", "litert-reference"])
def test_integers_are_those_of_numpy_up_to_one_step_of_the_output(
    tmp_path, data, dtype, scales, zero_points, runtime
):
    """q = clip(round(x / s) + z); y = clip(round(Σ w (q − z) · s·s_w / s_y) + z_y), by the file's own numbers."""
    weights = np.round(WEIGHTS / scales[1]).astype(np.int64)
    bias = np.round(BIAS / (scales[0] * scales[1])).astype(np.int64)
    content = linear_int8(weights, bias, scales=scales, zero_points=zero_points, dtype=dtype)
    path = write(tmp_path / "m.tflite", content)
    limits = np.iinfo(dtype)
    wide = np.rint(data.inputs.astype(float) / scales[0]) + zero_points[0]
    inputs = np.clip(wide, limits.min, limits.max) - zero_points[0]
    sums = inputs @ weights.T + bias
    logits = np.clip(
        np.rint(sums * (scales[0] * scales[1] / scales[2])) + zero_points[1], limits.min, limits.max
    )
    logits = (logits - zero_points[1]) * scales[2]
    (tmp_path / "m.model.yaml").write_text("activation: softmax\n", encoding="utf-8")
    scores, notes = predicted(path, data, runtime)
    distance = np.log(scores[:, 1] / scores[:, 0]) - (logits[:, 1] - logits[:, 0])
    # Runtimes round a tie of the output either way; with 16 bits, LiteRT's factor has 15 bits itself.
    assert np.abs(distance).max() < 2.01 * scales[2]
    assert (np.abs(distance) < 1e-4).mean() > (0.7 if dtype == np.int16 else 0.95)
    n_outside = int(((wide < limits.min) | (wide > limits.max)).sum())
    assert n_outside > 0 or dtype == np.int16
    assert any(
        note.startswith(f"its output 'y' gives {np.dtype(dtype)}, read as x = {scales[2]}") for note in notes
    )
    assert any(
        f"; {n_outside:,} of {data.inputs.size:,} values are beyond its range" in note for note in notes
    ) == bool(n_outside)


def test_probabilities_of_256_steps_are_recognized_although_they_do_not_sum_to_one(tmp_path, data):
    scales = (0.02, 0.01, 0.03)
    weights = np.round(WEIGHTS * 7 / scales[1])
    content = linear_int8(
        weights.clip(-127, 127), np.zeros(2), scales=scales, zero_points=(0, 0), softmax=True
    )
    path = write(tmp_path / "m.tflite", content)
    backend = choose("litert")
    model = open_external(path, data, None, backend)
    assert model.config.activation == "none"
    scores = model.answers(data, np.arange(len(data)), backend).probabilities
    sums = scores.sum(axis=1)
    assert sums.min() == 255 / 256  # a probability of 1 is written as 255 / 256
    np.testing.assert_array_equal(scores * 256, np.round(scores * 256))


def pictures(size: int = 8) -> Dataset:
    rng = np.random.default_rng(0)
    n = 60
    pixels = rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    ids = np.array([f"r{i}" for i in range(n)])
    parts = dict(
        zip(("train", "calibration", "validation", "test"), np.split(np.arange(n), [20, 30, 40]), strict=True)
    )
    labels = rng.integers(0, 2, n)
    sex = rng.choice(["F", "M"], n)
    task = Task("y", ("no", "yes"), "yes")
    return Dataset("pictures", task, pixels, (), labels, {"sex": sex}, ids, ids, parts, "made")


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_images_are_read_with_channels_last_and_values_as_described(tmp_path, dtype):
    dataset = pictures()
    rng = np.random.default_rng(1)
    kernels, weights = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(2, 4))
    path = write(tmp_path / "m.tflite", convolution(kernels, weights, BIAS, size=8, dtype=dtype))
    images = dataset.inputs.transpose(0, 2, 3, 1).astype(float)
    if dtype == np.float32:
        with pytest.raises(UserError, match="does not specify the range of pixel values; set"):
            open_external(path, dataset)
        text = "scale: 255\nmean: [0.5, 0.4, 0.3]\nstd: [0.2, 0.3, 0.4]\n"
        (tmp_path / "m.model.yaml").write_text(text, encoding="utf-8")
        images = (images / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    else:
        (tmp_path / "m.model.yaml").write_text("activation: softmax\n", encoding="utf-8")
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    hidden = np.maximum(np.einsum("nhwcij,oijc->nhwo", windows, kernels), 0).mean(axis=(1, 2))
    scores, _ = predicted(path, dataset)
    np.testing.assert_allclose(scores, softmax(hidden @ weights.T + BIAS), atol=2e-4)


def test_a_quantized_image_input_says_which_numbers_it_takes(tmp_path):
    file = TfliteFile()
    x = file.tensor("image", (1, 8, 8, 3), np.int8, scale=0.5, zero_point=-128)
    flat, y = file.tensor("flat", (1, 192), np.int8, scale=0.5, zero_point=-128), file.tensor("y", (1, 2))
    shape = file.tensor("shape", (2,), np.int32, np.array([1, 192]))
    file.operator(schema.BuiltinOperator.RESHAPE, [x, shape], [flat], "ReshapeOptions", newShape=[1, 192])
    floats = file.tensor("floats", (1, 192))
    file.operator(schema.BuiltinOperator.DEQUANTIZE, [flat], [floats])
    weights = np.zeros((2, 192))
    weights[1] = 1 / 192
    w, b = file.tensor("w", weights.shape, values=weights), file.tensor("b", (2,), values=np.zeros(2))
    file.operator(schema.BuiltinOperator.FULLY_CONNECTED, [floats, w, b], [y], "FullyConnectedOptions")
    path = write(tmp_path / "m.tflite", file.data([x], [y]))
    dataset = pictures()
    with pytest.raises(
        UserError, match=r"range of pixel values \(its input 'image' takes int8, .*0\.5 × \(q \+ 128\)\)"
    ):
        open_external(path, dataset)
    (tmp_path / "m.model.yaml").write_text("scale: 2\nactivation: softmax\n", encoding="utf-8")
    scores, _ = predicted(path, dataset)
    pixels = np.rint(dataset.inputs.astype(float).reshape(len(dataset), -1) / 2 / 0.5) * 0.5
    mean = np.minimum(pixels, 127.5).mean(axis=1)
    np.testing.assert_allclose(scores[:, 1], 1 / (1 + np.exp(-mean)), atol=1e-5)


def two_inputs(signed: bool) -> bytes:
    """age [1, 1] and rest [1, 2] → logits [1, 2], and their first column again as a second output."""
    file = TfliteFile()
    age, rest = file.tensor("serving_default_age:0", (1, 1)), file.tensor("serving_default_rest:0", (1, 2))
    parts = []
    for name, x, weights in (("a", age, WEIGHTS[:, :1]), ("b", rest, WEIGHTS[:, 1:])):
        w = file.tensor(f"w{name}", weights.shape, values=weights)
        b = file.tensor(f"b{name}", (2,), values=BIAS / 2)
        y = file.tensor(f"y{name}", (1, 2))
        file.operator(schema.BuiltinOperator.FULLY_CONNECTED, [x, w, b], [y], "FullyConnectedOptions")
        parts.append(y)
    logits = file.tensor("logits", (1, 2))
    file.operator(schema.BuiltinOperator.ADD, parts, [logits], "AddOptions")
    index = file.tensor("index", (1,), np.int64)
    axis = file.tensor("axis", (), np.int32, np.array(1))
    file.operator(
        schema.BuiltinOperator.ARG_MAX, [logits, axis], [index], "ArgMaxOptions",
        outputType=schema.TensorType.INT64,
    )  # fmt: skip
    names = {"inputs": {"rest": rest, "age": age}, "outputs": {"z": logits, "best": index}}
    return file.data([age, rest], [logits, index], names if signed else None)


@pytest.mark.parametrize("signed", [True, False])
def test_several_inputs_are_fed_by_name_and_the_output_of_scores_is_chosen(tmp_path, data, signed):
    path = write(tmp_path / "m.tflite", two_inputs(signed))
    names = ("age", "rest") if signed else ("serving_default_age:0", "serving_default_rest:0")
    text = f'inputs: {{"{names[0]}": age, "{names[1]}": [visits, score]}}\n'
    (tmp_path / "m.model.yaml").write_text(text, encoding="utf-8")
    model = open_external(path, data)
    assert model.config.output == ("z" if signed else "logits")
    scores, notes = predicted(path, data)
    np.testing.assert_allclose(scores, softmax(data.inputs @ WEIGHTS.T + BIAS), atol=1e-6)
    assert notes == ()  # the file's own labels agree with the decisions


def test_of_several_signatures_one_is_run_and_the_others_are_named(tmp_path, data):
    file = TfliteFile()
    x, y = file.tensor("x", (1, 3)), file.tensor("y", (1, 2))
    w, b = file.tensor("w", (2, 3), values=WEIGHTS), file.tensor("b", (2,), values=BIAS)
    file.operator(schema.BuiltinOperator.FULLY_CONNECTED, [x, w, b], [y], "FullyConnectedOptions")
    file.sign("train", {"x": x}, {"y": y})
    file.sign("serving_default", {"rows": x}, {"logits": y})
    path = write(tmp_path / "m.tflite", file.data([x], [y]))
    scores, notes = predicted(path, data)
    np.testing.assert_allclose(scores, softmax(data.inputs @ WEIGHTS.T + BIAS), atol=1e-6)
    assert notes == ("it has several signatures; 'serving_default' is run, and not train",)


def lookup(table: np.ndarray, weights: np.ndarray, length: int = 16) -> bytes:
    """ids [1, length] → mean of their embeddings → logits [1, classes]."""
    file = TfliteFile()
    ids, rows = (
        file.tensor("input_ids", (1, length), np.int32),
        file.tensor("rows", (1, length, table.shape[1])),
    )
    embedding = file.tensor("embedding", table.shape, values=table)
    file.operator(schema.BuiltinOperator.GATHER, [embedding, ids], [rows], "GatherOptions", axis=0)
    axes, mean = file.tensor("axes", (1,), np.int32, np.array([1])), file.tensor("mean", (1, table.shape[1]))
    file.operator(schema.BuiltinOperator.MEAN, [rows, axes], [mean], "ReducerOptions", keepDims=False)
    w, b = file.tensor("w", weights.shape, values=weights), file.tensor("b", (3,), values=np.zeros(3))
    y = file.tensor("logits", (1, 3))
    file.operator(schema.BuiltinOperator.FULLY_CONNECTED, [mean, w, b], [y], "FullyConnectedOptions")
    return file.data([ids], [y], {"inputs": {"input_ids": ids}, "outputs": {"logits": y}})


def test_texts_are_encoded_padded_to_the_length_of_the_file_and_looked_up(tmp_path):
    dataset = text_dataset()
    rng = np.random.default_rng(0)
    table, weights = rng.normal(size=(tokenizer().size, 8)), rng.normal(size=(3, 8))
    path = write(tmp_path / "m.tflite", lookup(table, weights))
    (tmp_path / "tokenizer.json").write_bytes(tokenizer().data)
    listed = ", ".join(CLASSES)
    text = f"max_length: 16\npad_id: 0\nclasses: [{listed}]\nactivation: softmax\n"
    (tmp_path / "m.model.yaml").write_text(text, encoding="utf-8")
    scores, _ = predicted(path, dataset)
    encoded = tokenizer(16).encode(dataset.texts)
    ids = np.zeros((len(dataset), 16), int)
    ids[:, : encoded.ids.shape[1]] = encoded.ids
    ids[np.arange(16) >= encoded.lengths[:, None]] = 0
    np.testing.assert_allclose(scores, softmax(table[ids].mean(axis=1) @ weights.T), atol=1e-5)
    # An embedding that is too small is not read beyond its end.
    write(path, lookup(table[:40], weights))
    with pytest.raises(UserError, match=r"m\.tflite cannot be run on 'posts': LiteRT reports .*[Gg]ather"):
        open_external(path, dataset)


def test_a_row_that_depends_on_the_others_is_refused(tmp_path, data):
    file = TfliteFile()
    x = file.tensor("x", (1, 3), free_rows=True)
    mean, shifted = file.tensor("mean", (1, 3)), file.tensor("shifted", (1, 3), free_rows=True)
    axis, y = file.tensor("axis", (1,), np.int32, np.array([0])), file.tensor("y", (1, 2), free_rows=True)
    file.operator(schema.BuiltinOperator.MEAN, [x, axis], [mean], "ReducerOptions", keepDims=True)
    file.operator(schema.BuiltinOperator.SUB, [x, mean], [shifted], "SubOptions")
    w, b = file.tensor("w", (2, 3), values=WEIGHTS), file.tensor("b", (2,), values=BIAS)
    file.operator(schema.BuiltinOperator.FULLY_CONNECTED, [shifted, w, b], [y], "FullyConnectedOptions")
    path = write(tmp_path / "m.tflite", file.data([x], [y]))
    with pytest.raises(UserError, match="depends on the other rows of the call"):
        open_external(path, data)


def custom() -> bytes:
    file = TfliteFile()
    x, y = file.tensor("x", (1, 3)), file.tensor("y", (1, 2))
    file.custom("MyLayer", [x], [y])
    return file.data([x], [y])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not a LiteRT file"),
        (b"no model at all", "is not a LiteRT file"),
        (linear(WEIGHTS, BIAS)[:300], "is damaged: it is not a whole LiteRT file"),
        (custom(), "needs the custom operator 'MyLayer'"),
        (linear(np.ones((2, 4), np.float32), BIAS), r"reads 4 columns, .*my\.yaml' has 3"),
        (linear(np.ones((5, 3), np.float32), np.ones(5, np.float32)), "has 5 columns and 'ill' 2 classes"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, data, content, sentence):
    path = write(tmp_path / "m.tflite", content)
    with pytest.raises(UserError, match=sentence):
        open_external(path, data)


def test_folders_missing_files_and_other_runtimes_are_one_sentence(tmp_path, data):
    (tmp_path / "d.tflite").mkdir()
    with pytest.raises(UserError, match=r"d\.tflite"):
        api.predict({"m": str(tmp_path / "d.tflite")}, data)
    with pytest.raises(UserError, match=r"there is no file .*none\.tflite"):
        api.predict({"m": str(tmp_path / "none.tflite")}, data)
    path = write(tmp_path / "m.tflite", linear(WEIGHTS, BIAS))
    with pytest.raises(
        UserError, match="is a LiteRT file, which runs on @litert, @litert-reference, not on @openvino"
    ):
        api.predict({"m": f"{path}@openvino"}, data)


def test_the_command_predicts_beside_a_file_of_another_format_and_says_what_was_converted(
    tmp_path, data, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    weights = np.round(WEIGHTS / 0.01)
    write(tmp_path / "float.tflite", linear(WEIGHTS, BIAS))
    write(
        tmp_path / "phone.tflite",
        linear_int8(weights, np.zeros(2), scales=(0.02, 0.01, 0.03), zero_points=(3, -7)),
    )
    with pytest.raises(SystemExit) as stop:
        cli.main(
            ["predict", "fp32=float.tflite", "phone=phone.tflite", "--data", "my.yaml", "--out", "p.parquet"]
        )
    assert stop.value.code == 0
    shown = capsys.readouterr()
    assert "'phone': its input 'x' takes int8, read as x = 0.02 × (q − 3); " in shown.err
    assert "INFO: Created" not in shown.err
    assert "fairpress audit p.parquet --baseline fp32 --compressed phone" in shown.out
    import pyarrow.parquet as pq

    table = pq.read_table("p.parquet")
    facts = json.loads(table.schema.metadata[b"fairpress.runtimes"])["phone"]
    assert facts["runtime"].startswith("litert 2.")
    assert facts["delegate"] == "XNNPACK"
    assert facts["rows_per_call"] == 1
    audit = api.audit(table, baseline="fp32", compressed="phone", by=["sex"], label="label", positive="yes")
    assert audit.comparisons[0].compressed == "phone"


def test_bench_times_the_file_as_it_is_with_its_integers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = write(
        tmp_path / "one.tflite",
        linear_int8(np.ones((2, 3)), np.zeros(2), scales=(0.1, 0.1, 0.1), zero_points=(0, 0)),
    )
    free = write(tmp_path / "free.tflite", linear(WEIGHTS, BIAS, free_rows=True))
    result = api.bench({"one": str(one), "free": str(free)}, batch=[1, 8], rounds=2, threads=2)
    assert [(m.model, m.runtime, m.batch, m.threads) for m in result.measurements] == [
        ("one", "litert", 1, 2),
        ("free", "litert", 1, 2),
        ("free", "litert", 8, 2),
    ]
    assert any(note.startswith("one requires exactly 1 row per call") for note in result.notes)
    assert [s.bytes for s in result.sizes] == [one.stat().st_size, free.stat().st_size]
    assert all(m.median > 0 and m.memory_peak > 0 for m in result.measurements)
    with pytest.raises(UserError, match="is a LiteRT file, which runs on @litert"):
        api.bench({"m": f"{free}@onnxruntime"}, batch=1, rounds=1)


def test_predictions_of_a_folder_and_of_a_file_stand_in_one_table(tmp_path):
    from small_model import make_model

    artifact = make_model(tmp_path)
    dataset = datasets.load(str(tmp_path / "t.yaml"))
    path = write(tmp_path / "m.tflite", linear(WEIGHTS, BIAS))
    (tmp_path / "m.model.yaml").write_text("classes: ['no', 'yes']\n", encoding="utf-8")
    model = open_external(path, dataset)
    table = predictions({"onnx": artifact, "lite": model}, dataset, runtimes={"lite": choose("litert")})
    assert {"onnx.score", "lite.score"} <= set(table.column_names)
    assert notes_of(table) == {}
    with pytest.raises(UserError, match="it is an ONNX file, which @litert does not load"):
        predictions({"onnx": artifact}, dataset, runtimes={"onnx": choose("litert")})


def test_what_only_onnx_files_can_do_is_a_sentence(tmp_path, data):
    path = write(tmp_path / "m.tflite", linear(WEIGHTS, BIAS))
    with pytest.raises(UserError, match=r"m\.tflite is not an ONNX file, and only those are quantized here"):
        api.compress_file(path, "int8", data)
    with pytest.raises(UserError, match=r"m\.tflite is a model, not a table"):
        api.audit(str(path), baseline="a", compressed="b", by=["sex"])
