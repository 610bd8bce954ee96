"""ONNX files made elsewhere, compressed by ONNX Runtime's quantizer with fairpress's rows and report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress import api, cli, datasets
from fairpress.compression.compress_onnx import compress_file
from fairpress.compression.onnx.external_tables import quantize_tables
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Task
from fairpress.runtime.external.model import open_external
from tiny_texts import text_dataset, tokenizer, transformers_export

COLUMNS = ["a", "b", "c", "d"]


def network(path: Path, hidden: int = 64, gemm: bool = False) -> Path:
    """A network of two layers that says whether a + b is above 0, and how sure it is."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, hidden)).astype(np.float32)
    direction = np.array([1, 1, 0, 0], np.float32) / np.sqrt(2)
    score = np.maximum(first.T @ direction, 0) - np.maximum(-first.T @ direction, 0)
    second = (np.stack([-score, score], 1) * 8 / hidden).astype(np.float32)
    weights = [numpy_helper.from_array(w, n) for w, n in ((first, "w1"), (second, "w2"))]
    product = "Gemm" if gemm else "MatMul"
    nodes = [
        helper.make_node(product, ["x", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node(product, ["r", "w2"], ["z"], name="last"),
    ]
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 4), ("z", 2))]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def text_export(folder: Path, data: bytes) -> Path:
    """A file with what transformers writes beside it."""
    document = json.loads(tokenizer().data)
    document["truncation"] = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    names = {"0": "Positive", "1": "Negative", "2": "Neutral"}
    (folder / "config.json").write_text(json.dumps({"id2label": names, "pad_token_id": 0}), encoding="utf-8")
    (folder / "m.onnx").write_bytes(data)
    return folder / "m.onnx"


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(600, 4)), columns=COLUMNS).round(4)
    table["sex"] = rng.choice(["F", "M"], 600, p=[0.2, 0.8])
    table["y"] = np.where(table.a + table.b + 0.5 * rng.normal(size=600) > 0, "yes", "no")
    table.to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "my.yaml").write_text(
        'path: people.csv\nlabel: y\npositive: "yes"\nfeatures: [a, b, c, d]\nsensitive: [sex]\n',
        encoding="utf-8",
    )
    return datasets.load(str(tmp_path / "my.yaml"))


def command(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.mark.parametrize("gemm", [False, True])
@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic", "w4"])
def test_it_is_smaller_and_decides_alike(tmp_path, data, recipe, gemm):
    path = network(tmp_path / "big.onnx", 512, gemm)
    created = api.compress_file(path, recipe, data)
    report = created.report
    assert report["bytes"] == len(created.onnx) < report["bytes_before"] == path.stat().st_size
    assert report["recipe"] == recipe
    checked = report["validation"]
    assert checked["rows"] == len(data.index("validation"))
    assert checked["accuracy"] > 0.8
    assert checked["flips"] <= 0.05 * checked["rows"]
    if recipe.startswith("int8"):
        assert report["layers"] == {"integer": 2, "float": 0}
    (tmp_path / "small.onnx").write_bytes(created.onnx)
    (tmp_path / "small.model.yaml").write_text(created.model_yaml, encoding="utf-8")
    again = open_external(tmp_path / "small.onnx", data)
    assert again.guessed == ()
    rows = data.index("test")
    apart = again.scores(data, rows) - open_external(path, data).scores(data, rows)
    assert 0 < np.abs(apart).mean() < 0.05


def test_calibration_rows_are_those_of_every_recipe_and_test_rows_have_no_say(tmp_path, data):
    path = network(tmp_path / "big.onnx")
    created = compress_file(path, parse("int8(calibration=balanced,by=sex,rows=40)"), data)
    assert created.report["calibration_rows"] == 40
    assert {g["rows"] for g in created.report["calibration"]["groups"].values()} == {20}
    from dataclasses import replace

    inputs = data.inputs.copy()
    inputs[data.parts["test"]] = 1e3
    moved = replace(data, inputs=inputs)
    same = compress_file(path, parse("int8(calibration=balanced,by=sex,rows=40)"), moved)
    assert same.onnx == created.onnx
    narrow = compress_file(path, parse("int8(reduce_range=true)"), data).onnx
    assert narrow != compress_file(path, parse("int8"), data).onnx
    retained = compress_file(path, parse("int8(keep=last)"), data)
    assert retained.report["layers"] == {"integer": 1, "float": 1}


def test_the_command_writes_a_file_that_predict_runs_without_a_guess(tmp_path, data, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network(tmp_path / "big.onnx", 256)
    say = ["compress", "big.onnx", "--data", "my.yaml", "--recipe", "int8", "--out", "small.onnx"]
    assert command(say) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "times smaller than big.onnx" in shown
    assert "2 layers compute in integers, 0 in floating point" in shown
    assert "predictions changed" in shown
    assert json.loads((tmp_path / "small.report.json").read_text())["made_from"] == "big.onnx"
    assert (
        command(["predict", "big=big.onnx", "small=small.onnx", "--data", "my.yaml", "--out", "p.parquet"])
        == 0
    )
    assert command(say) == 2
    assert "small.onnx already exists" in " ".join(capsys.readouterr().err.split())
    for arguments, sentence in {
        (
            "big.onnx",
            "--recipe",
            "int8",
            "--out",
            "x.onnx",
        ): "name the dataset with --data, such as --data compas",
        ("big.onnx", "--recipe", "int8", "--data", "my.yaml", "--out", "x/"): "write --out small.onnx",
        ("base/", "--recipe", "int8", "--data", "my.yaml", "--out", "x/"): "are for ONNX files",
        ("no.onnx", "--recipe", "int8", "--data", "my.yaml", "--out", "x.onnx"): "there is no file no.onnx",
    }.items():
        assert command(["compress", *arguments]) == 2
        assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x.onnx").exists()
    assert not (tmp_path / "x.model.yaml").exists()


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            "int4",
            "int4 needs a network, and an ONNX file has none; take int8, int8-dynamic or w4",
        ),
        ("prune-80+int8", r"prune-80\+int8 needs a network"),
        ("fp32", "fp32 needs a network"),
        ("int8(ranges=percentile)", "external ONNX files do not support weights"),
        ("int8(bits=last:4)", "external ONNX files do not support bits.* takes rows, calibration, by, draw"),
        ("w4(calibration=random)", "external ONNX files do not support calibration"),
    ],
)
def test_what_needs_more_than_a_file_is_refused(tmp_path, data, recipe, sentence):
    with pytest.raises(UserError, match=sentence):
        compress_file(network(tmp_path / "big.onnx"), parse(recipe), data)


def test_files_that_cannot_be_made_smaller_say_so(tmp_path, data):
    path = network(tmp_path / "big.onnx")
    (tmp_path / "small.onnx").write_bytes(compress_file(path, parse("int8"), data).onnx)
    with pytest.raises(UserError, match=r"already quantized .*; compress the float file it was made from"):
        compress_file(tmp_path / "small.onnx", parse("int8"), data)
    with pytest.raises(UserError, match=r"has no layer 'lst' to keep in float. Did you mean 'last'"):
        compress_file(path, parse("int8(keep=lst)"), data)
    gemm = network(tmp_path / "gemm.onnx", 512, gemm=True)
    for recipe in ("int8-dynamic(keep=first)", "w4(keep=first)"):
        model = onnx.load_from_string(compress_file(gemm, parse(recipe), data).onnx)
        assert {
            t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2
        } >= {"w1"}
        assert "w2" not in {t.name for t in model.graph.initializer}
    with pytest.raises(UserError, match=r"int8.* cannot make .* smaller: it has no"):
        compress_file(path, parse("int8(keep=first|last)"), data)


def test_images_with_a_fixed_batch_and_convolutions(tmp_path):
    """Balanced rows of uint8 pixels, scaled as model.yaml says; a file that insists on seven rows a call."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (120, 3, 8, 8), dtype=np.uint8)
    labels = (pixels[:, 0].mean((1, 2)) > pixels[:, 1].mean((1, 2))).astype(np.int64)
    parts = dict(
        zip(
            ("train", "calibration", "validation", "test"),
            np.split(np.arange(120), [30, 60, 90]),
            strict=True,
        )
    )
    ids = np.arange(120).astype(str)
    sex = rng.choice(["F", "M"], 120)
    pictures = Dataset(
        "pictures",
        Task("y", ("no", "yes"), "yes"),
        pixels,
        (),
        labels,
        {"sex": sex},
        ids,
        ids,
        parts,
        "",
    )
    kernel = rng.normal(scale=0.1, size=(16, 3, 3, 3)).astype(np.float32)
    kernel[:2] = 0
    kernel[0, 0], kernel[1, 1] = 1.0, 1.0
    head = np.zeros((16, 2), np.float32)
    head[0], head[1] = (-4, 4), (4, -4)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "h"], ["z"]),
    ]
    shapes = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in (("x", [7, 3, 8, 8]), ("z", [7, 2]))
    ]
    weights = [numpy_helper.from_array(w, n) for w, n in ((kernel, "k"), (head, "h"))]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "m.onnx",
    )
    (tmp_path / "m.model.yaml").write_text("scale: 255\n", encoding="utf-8")
    created = compress_file(tmp_path / "m.onnx", parse("int8(calibration=balanced,by=sex,rows=20)"), pictures)
    assert created.report["layers"]["integer"] >= 1
    assert created.report["validation"]["flips"] <= 3
    assert created.report["validation"]["accuracy"] > 0.8


def stored(model: onnx.ModelProto, name: str) -> np.ndarray:
    return np.asarray(numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name)))


def of_old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version, model.ir_version = 11, 4


def of_the_first_files(model: onnx.ModelProto) -> None:
    """Weights are listed among the inputs."""
    model.opset_import[0].version, model.ir_version = 9, 3
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )


def with_constants(model: onnx.ModelProto) -> None:
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    for tensor in tensors:
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))


def with_transposed_weights(model: onnx.ModelProto) -> None:
    turned = numpy_helper.from_array(np.ascontiguousarray(stored(model, "w1").T), "turned")
    model.graph.initializer.append(turned)
    model.graph.initializer.remove(next(t for t in model.graph.initializer if t.name == "w1"))
    model.graph.node.insert(0, helper.make_node("Transpose", ["turned"], ["w1"], perm=[1, 0]))


def with_functions(model: onnx.ModelProto) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Linear", ["x", "w"], ["y"], [node], opset))
    model.opset_import.append(helper.make_opsetid("own", 1))
    for result in model.graph.node:
        if result.op_type == "MatMul":
            result.op_type, result.domain = "Linear", "own"


@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic", "w4"])
@pytest.mark.parametrize(
    "change", [of_old_opset, of_the_first_files, with_constants, with_transposed_weights, with_functions]
)
def test_files_of_every_age_and_converter_are_compressed(tmp_path, data, recipe, change):
    path = network(tmp_path / "big.onnx", 512)
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    report = compress_file(path, parse(recipe), data).report
    assert report["bytes"] < report["bytes_before"]
    assert report["validation"]["flips"] <= 0.05 * report["validation"]["rows"]
    if recipe.startswith("int8"):
        assert report["layers"] == {"integer": 2, "float": 0}


@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic", "w4"])
def test_weights_outside_the_file_are_found_and_nothing_is_written_beside_it(tmp_path, data, recipe):
    folder = tmp_path / "models"
    folder.mkdir()
    network(tmp_path / "one.onnx", 512)
    onnx.save(
        onnx.load(tmp_path / "one.onnx"), folder / "big.onnx", save_as_external_data=True, location="big.data"
    )
    (folder / "big-inferred.onnx").write_bytes(b"mine")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    report = compress_file(folder / "big.onnx", parse(recipe), data).report
    assert report["bytes_before"] == sum(map(len, (before["big.onnx"], before["big.data"])))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic", "w4"])
def test_the_report_counts_by_the_decisions_of_predict(tmp_path, data, recipe):
    """With a threshold of .2, the most probable class is not what anybody decides."""
    path = network(tmp_path / "big.onnx", 64)
    (tmp_path / "big.model.yaml").write_text("threshold: 0.2\n", encoding="utf-8")
    created = compress_file(path, parse(recipe), data)
    (tmp_path / "small.onnx").write_bytes(created.onnx)
    (tmp_path / "small.model.yaml").write_text(created.model_yaml, encoding="utf-8")
    models = {"big": path, "small": tmp_path / "small.onnx"}
    table = api.predict(models, data, part="validation").to_pandas()
    reported = created.report["validation"]
    assert reported["accuracy_before"] == pytest.approx((table.big == table.label).mean())
    assert reported["accuracy"] == pytest.approx((table.small == table.label).mean())
    assert reported["flips"] == (table.big != table.small).sum()
    likelier = np.where(table["big.score"] >= 0.5, "yes", "no")
    assert reported["accuracy_before"] != pytest.approx((likelier == table.label).mean())


def test_files_that_give_labels_only_are_compressed_by_their_labels(tmp_path, data):
    path = network(tmp_path / "big.onnx", 512)
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("ArgMax", ["z"], ["label"], axis=1, keepdims=0))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    onnx.save(model, path)
    checked = compress_file(path, parse("int8"), data).report["validation"]
    assert checked["accuracy"] > 0.8
    assert checked["flips"] <= 0.05 * checked["rows"]


def test_weights_of_other_types_are_named(tmp_path, data):
    path = network(tmp_path / "big.onnx")
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    for recipe in ("int8", "int8-dynamic", "w4"):
        with pytest.raises(UserError, match=r"weights of .* are float16, .*; export the model in float32"):
            compress_file(path, parse(recipe), data)


def test_nothing_of_the_users_is_replaced_without_force(tmp_path, data, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network(tmp_path / "big.onnx", 256)
    (tmp_path / "small.report.json").write_text("mine", encoding="utf-8")
    say = ["compress", "big.onnx", "--data", "my.yaml", "--recipe", "int8", "--out"]
    for location, sentence in {
        "small.onnx": "small.report.json already exists; choose another --out, or replace it with --force.",
        "big.onnx": "--out big.onnx is an input of this command",
    }.items():
        assert command([*say, location]) == 2
        assert sentence in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "small.report.json").read_text() == "mine"
    assert not (tmp_path / "small.onnx").exists()
    assert command([*say, "big.onnx", "--force"]) == 2
    capsys.readouterr()
    assert command([*say, "small.onnx", "--force"]) == 0
    assert command([*say, "small.onnx", "--force"]) == 0
    assert "small.onnx (replaced): " in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("recipe", ["int8", "int8-dynamic", "w4"])
def test_a_file_that_reads_texts_gets_a_table_of_integers(tmp_path, recipe):
    parts = {"calibration": np.arange(80), "validation": np.arange(80, 140), "test": np.arange(140, 200)}
    dataset = dataclasses.replace(text_dataset(), parts=parts)
    path = text_export(tmp_path, transformers_export())
    created = compress_file(path, parse(recipe), dataset)
    assert created.report["tables"] == {"integer": 1, "float": 0}  # that of two token types is too small
    (tmp_path / "small.onnx").write_bytes(created.onnx)
    (tmp_path / "small.model.yaml").write_text(created.model_yaml, encoding="utf-8")
    index = dataset.parts["test"]
    before = open_external(path, dataset).scores(dataset, index)
    after = open_external(tmp_path / "small.onnx", dataset).scores(dataset, index)
    assert 0 < np.abs(after - before).mean() < (0.1 if recipe == "w4" else 0.02)
    table = next(
        t for t in onnx.load_from_string(created.onnx).graph.initializer if t.dims[:1] == [tokenizer().size]
    )
    assert table.data_type == TensorProto.INT8


def test_tables_have_4_bits_in_blocks_or_stay_in_float_where_another_node_reads_them():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 64)).astype(np.float32)

    def file(*nodes: onnx.NodeProto) -> bytes:
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "length"])
        outs = [helper.make_tensor_value_info(n.output[0], TensorProto.FLOAT, None) for n in nodes]
        graph = helper.make_graph(list(nodes), "g", [ids], outs, [numpy_helper.from_array(values, "table")])
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
        ).SerializeToString()

    gather = helper.make_node("Gather", ["table", "ids"], ["y"], name="words")
    packed, facts = quantize_tables(file(gather), 4, ())
    assert facts == {"tables": {"integer": 1, "float": 0}}
    ids = rng.integers(0, 40, (3, 5))
    got = onnxruntime.InferenceSession(packed).run(None, {"ids": ids})[0]
    blocks = values.reshape(40, 2, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)
    expected = np.clip(np.round(blocks / (largest / -8)), -8, 7) * (largest / -8)
    np.testing.assert_allclose(got, expected.reshape(40, 64)[ids], rtol=1e-5)
    assert len(packed) < 0.25 * len(file(gather))
    tied = file(gather, helper.make_node("Transpose", ["table"], ["t"]))
    assert quantize_tables(tied, 8, ()) == (tied, {"tables": {"integer": 0, "float": 1}})
    assert quantize_tables(file(gather), 8, ("words",))[1] == {"tables": {"integer": 0, "float": 1}}
