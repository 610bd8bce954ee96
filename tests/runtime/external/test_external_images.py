"""ONNX classifiers of images made elsewhere: layout, pixel values, mean and deviation as the model expects them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress import api
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset, Task
from fairpress.runtime.external.model import open_external

WEIGHTS = np.array([[6.0], [-5.0], [-1.0]])


@pytest.fixture
def pictures() -> Dataset:
    """150 pictures of 3 × 8 × 6 pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (150, 3, 8, 6), dtype=np.uint8)
    labels = rng.integers(0, 2, 150)
    ids = np.array([f"r{i}" for i in range(150)])
    sex = rng.choice(["F", "M"], 150)
    parts = dict(
        zip(
            ("train", "calibration", "validation", "test"),
            np.split(np.arange(150), [60, 90, 120]),
            strict=True,
        )
    )
    return Dataset(
        "pictures", Task("y", ("no", "yes"), "yes"), pixels, (), labels, {"sex": sex}, ids, ids, parts, "made"
    )


def mean_colour(path, layout="nchw", kind=TensorProto.FLOAT, shape=None):
    """A logistic model of the mean of each channel."""
    shape = shape or (["n", 3, 8, 6] if layout == "nchw" else ["n", 8, 6, 3])
    axes = [2, 3] if layout == "nchw" else [1, 2]
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [shape[0], 1])],
        [numpy_helper.from_array(WEIGHTS.astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)
    return path


def expected(data, scale=255.0, mean=0.0, std=1.0):
    colour = (data.inputs.astype(float) / scale).mean(axis=(2, 3))
    z = (colour - np.asarray(mean)) / np.asarray(std) @ WEIGHTS
    return 1 / (1 + np.exp(-z[:, 0]))


def say(model, text):
    model.with_suffix(".model.yaml").write_text(text, encoding="utf-8")
    return model


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("batch", ["n", 1, 64])
def test_layouts_are_seen_by_where_the_channels_are(tmp_path, pictures, layout, batch):
    shape = [batch, 3, 8, 6] if layout == "nchw" else [batch, 8, 6, 3]
    model = say(mean_colour(tmp_path / "m.onnx", layout, shape=shape), "scale: 255\n")
    result = open_external(model, pictures)
    assert result.config.layout == layout
    assert result.guessed == ("layout", "activation", "classes")
    np.testing.assert_allclose(result.scores(pictures, np.arange(150))[:, 1], expected(pictures), atol=1e-5)


def test_mean_and_deviation_are_per_channel_after_scaling(tmp_path, pictures):
    model = say(
        mean_colour(tmp_path / "m.onnx"),
        "scale: 255\nmean: [0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]\n",
    )
    result = open_external(model, pictures).scores(pictures, np.arange(150))[:, 1]
    reference = expected(pictures, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    np.testing.assert_allclose(result, reference, atol=1e-4)


def test_one_number_holds_for_every_channel(tmp_path, pictures):
    model = say(mean_colour(tmp_path / "m.onnx"), "scale: 1\nmean: 0.5\nstd: 256\n")
    result = open_external(model, pictures).scores(pictures, np.arange(150))[:, 1]
    np.testing.assert_allclose(
        result, expected(pictures, mean=[0.5] * 3, std=[256] * 3, scale=1.0), atol=1e-4
    )


def test_whole_pixel_values_are_handed_over_as_they_are(tmp_path, pictures):
    model = mean_colour(tmp_path / "m.onnx", kind=TensorProto.UINT8)
    result = open_external(model, pictures)
    assert "scale" in result.guessed
    np.testing.assert_allclose(
        result.scores(pictures, np.arange(150))[:, 1], expected(pictures, scale=1.0), atol=1e-5
    )
    with pytest.raises(UserError, match="omit `scale`, `mean` and `std`"):
        open_external(say(model, "scale: 255\n"), pictures)


def test_predictions_of_images_can_be_audited(tmp_path, pictures):
    models = {name: say(mean_colour(tmp_path / f"{name}.onnx"), "scale: 255\n") for name in ("a", "b")}
    table = api.predict(models, pictures, part="all")
    report = api.audit(table, by=["sex"])
    assert report.comparisons[0].overall.flips.right_to_wrong == 0
    assert report.models[0].runtime.startswith("onnxruntime ")
    assert report.models[0].threshold == 0.5


@pytest.mark.parametrize(
    ("shape", "yaml", "sentence"),
    [
        (None, "threshold: 0.5\n", "set in .* `scale: 255` for 0 to 1"),
        (["n", 3, 16, 16], "scale: 255\n", "reads images of 3 × 16 × 16 .*'pictures' has 3 × 8 × 6"),
        (["n", "c", "h", "w"], "scale: 255\n", "set `layout: nchw` or nhwc"),
        (None, "scale: 255\nmean: [1, 2]\n", "mean has 2 numbers for 3 channels"),
        (None, "columns: [a]\n", "has images, not columns"),
        (None, "scale: 0\n", "scale"),
        (None, "layout: chw\n", "layout"),
        (None, "scale: 255\ncolumns: [a]\n", "`layout` and `scale` are for images"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, pictures, shape, yaml, sentence):
    model = say(mean_colour(tmp_path / "m.onnx", shape=shape), yaml)
    with pytest.raises(UserError, match=sentence):
        open_external(model, pictures)


def test_a_model_of_columns_reads_no_images_and_one_of_images_no_columns(tmp_path, pictures, small):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8),
        tmp_path / "t.onnx",
    )
    with pytest.raises(UserError, match="one input of four dimensions"):
        open_external(tmp_path / "t.onnx", pictures)
