"""ONNX classifiers made elsewhere: run as they are meant, guessed only when there is one answer."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress import api, cli, datasets
from fairpress.core.errors import UserError
from fairpress.runtime.external.config import ExternalModelConfig
from fairpress.runtime.external.model import open_external

WEIGHTS = np.array([1.5, -0.7, 0.3])
BIAS = 0.2
COLUMNS = ["age", "visits", "score"]


def people(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3))
    y = x @ WEIGHTS + BIAS + 0.5 * rng.normal(size=rows) > 0
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


def save(path, nodes, inputs, outputs, weights):
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def linear(path, *, ending=None, columns=2, batch="n", kind=TensorProto.FLOAT, flat=False):
    """A logistic model: [n, 2] logits of (no, yes), or [n, 1]; `ending` may be Softmax or Sigmoid."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    w = np.stack([-WEIGHTS / 2, WEIGHTS / 2], 1) if columns == 2 else WEIGHTS[:, None]
    b = np.array([-BIAS / 2, BIAS / 2]) if columns == 2 else np.array([BIAS])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["z"])]
    last = "z"
    if ending:
        nodes.append(helper.make_node(ending, ["z"], ["p"], **({"axis": 1} if ending == "Softmax" else {})))
        last = "p"
    weights = [numpy_helper.from_array(v.astype(dtype), n) for n, v in (("w", w), ("b", b))]
    if flat:
        nodes.append(helper.make_node("Squeeze", [last, "axis"], ["s"]))
        weights.append(numpy_helper.from_array(np.array([1]), "axis"))
        last = "s"
    shape = [batch] if flat else [batch, columns]
    return save(path, nodes, [tensor("x", kind, [batch, 3])], [tensor(last, kind, shape)], weights)


def expected():
    x = people()[COLUMNS].to_numpy()
    return 1 / (1 + np.exp(-(x @ WEIGHTS + BIAS)))


def positive(path, data, config=None):
    return open_external(path, data, config).scores(data, np.arange(len(data)))[:, 1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ending": "Softmax"},
        {"columns": 1, "ending": "Sigmoid"},
        {"columns": 1},
        {"columns": 1, "ending": "Sigmoid", "flat": True},
        {"batch": 1},
        {"batch": 64},
        {"kind": TensorProto.DOUBLE},
    ],
)
def test_logits_and_probabilities_of_every_shape_give_the_same_scores(tmp_path, data, options):
    result = positive(linear(tmp_path / "m.onnx", **options), data)
    np.testing.assert_allclose(result, expected(), atol=1e-5)


def test_a_model_with_labels_and_a_map_of_probabilities_as_sklearn_exports_it(tmp_path, data):
    """skl2onnx: LinearClassifier, Normalizer and ZipMap, classes in the model's own order."""
    for classes in (["no", "yes"], ["yes", "no"]):
        sign = 1 if classes[1] == "yes" else -1
        node = helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            classlabels_strings=classes,
            coefficients=np.concatenate([-sign * WEIGHTS / 2, sign * WEIGHTS / 2]).tolist(),
            intercepts=[-sign * BIAS / 2, sign * BIAS / 2],
            post_transform="SOFTMAX",
            multi_class=1,
        )
        zip_ = helper.make_node(
            "ZipMap", ["raw"], ["probabilities"], domain="ai.onnx.ml", classlabels_strings=classes
        )
        out = helper.make_value_info(
            "probabilities",
            helper.make_sequence_type_proto(
                helper.make_map_type_proto(
                    TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
                )
            ),
        )
        labels = tensor("label", TensorProto.STRING, ["n"])
        x = tensor("x", TensorProto.FLOAT, ["n", 3])
        mapped = save(tmp_path / "map.onnx", [node, zip_], [x], [labels, out], [])
        np.testing.assert_allclose(positive(mapped, data), expected(), atol=1e-5)
        # Without the map, the output of labels gives the order of the classes away.
        plain = save(
            tmp_path / "plain.onnx", [node], [x], [labels, tensor("raw", TensorProto.FLOAT, ["n", 2])], []
        )
        assert open_external(plain, data).classes == tuple(classes)
        np.testing.assert_allclose(positive(plain, data), expected(), atol=1e-5)


def test_an_input_per_column_is_fed_by_name_whatever_their_order(tmp_path, data):
    inputs = [tensor(n, TensorProto.DOUBLE, ["n", 1]) for n in reversed(COLUMNS)]
    nodes = [
        helper.make_node("Concat", COLUMNS, ["x"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["z"]),
    ]
    weights = [numpy_helper.from_array(v, n) for n, v in (("w", WEIGHTS[:, None]), ("b", np.array([BIAS])))]
    model = save(tmp_path / "m.onnx", nodes, inputs, [tensor("z", TensorProto.DOUBLE, ["n", 1])], weights)
    np.testing.assert_allclose(positive(model, data), expected(), atol=1e-9)


def test_the_yaml_beside_the_file_says_order_scaling_classes_and_threshold(tmp_path, data):
    model = linear(tmp_path / "m.onnx")
    (tmp_path / "m.model.yaml").write_text(
        "columns: [score, visits, age]\nmean: [1, 2, 3]\nstd: [2]\nclasses: ['yes', 'no']\nthreshold: 0.3\n",
        encoding="utf-8",
    )
    x = (people()[["score", "visits", "age"]].to_numpy() - [1, 2, 3]) / 2
    result = open_external(model, data)
    np.testing.assert_allclose(positive(model, data), 1 / (1 + np.exp(x @ WEIGHTS + BIAS)), atol=1e-5)
    assert result.guessed == ("activation",)
    table = api.predict({"m": model}, data, part="all")
    scores = np.array(table["m.score"])
    assert (np.array(table["m"]) == np.where(scores >= 0.3, "yes", "no")).all()


def test_one_number_is_taken_for_a_list_of_numbers():
    parsed = ExternalModelConfig.model_validate({"columns": "age", "mean": 0, "std": 256})
    assert (parsed.columns, parsed.mean, parsed.std) == (("age",), (0.0,), (256.0,))
    assert ExternalModelConfig.model_validate({"columns": "encoded"}).columns == "encoded"
    for wrong in ({"std": 0}, {"mean": float("inf")}, {"mean": "much"}):
        with pytest.raises(ValueError, match=r"std|mean"):
            ExternalModelConfig.model_validate(wrong)


def test_what_was_guessed_can_be_saved_and_is_then_no_guess(tmp_path, data):
    model = linear(tmp_path / "m.onnx", ending="Softmax")
    guess = open_external(model, data)
    assert guess.guessed == ("columns", "activation", "classes")
    text = guess.as_yaml()
    assert text.count("# guessed") == 3
    (tmp_path / "model.yaml").write_text(text, encoding="utf-8")
    again = open_external(model, data)
    assert again.guessed == ()
    assert again.config == guess.config


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        ("columns: [age, visits]\n", "reads 3 columns, but `columns` lists 2"),
        ("columns: [age, visits, scor]\n", "no column 'scor'.*Did you mean 'score'"),
        ("columns: [age, visits, sex]\n", "no column 'sex'"),
        ("output: q\n", "no output 'q'"),
        ("activation: tanh\n", r"m\.model\.yaml:1:1: activation"),
        ("actvation: none\n", "Did you mean 'activation'"),
        ("classes: [a, b]\n", "the model's classes are a, b"),
        ("mean: [1, 2]\n", "mean has 2 numbers for 3 columns"),
        ("inputs: {y: age}\n", "does not name a column for 'x'"),
        ("threshold: 50\n", "threshold"),
    ],
)
def test_a_yaml_that_does_not_fit_is_one_sentence(tmp_path, data, yaml, sentence):
    model = linear(tmp_path / "m.onnx")
    (tmp_path / "m.model.yaml").write_text(yaml, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        open_external(model, data)


def test_what_has_several_answers_is_not_guessed(tmp_path, data):
    both = save(
        tmp_path / "two.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Sigmoid", ["a"], ["b"])],
        [tensor("x", TensorProto.FLOAT, ["n", 3])],
        [tensor(n, TensorProto.FLOAT, ["n", 2]) for n in "ab"],
        [numpy_helper.from_array(np.ones((3, 2), np.float32), "w")],
    )
    with pytest.raises(UserError, match=r"2 outputs that could be scores \(a, b\)"):
        open_external(both, data)
    (tmp_path / "two.model.yaml").write_text("output: b\n", encoding="utf-8")
    with pytest.raises(UserError, match="between 0 and 1 and may or may not be probabilities"):
        open_external(both, data)
    wide = linear(tmp_path / "m.onnx")
    other = tmp_path / "b.yaml"
    other.write_text((tmp_path / "my.yaml").read_text().replace("[age, visits, score]", "[age, visits]"))
    with pytest.raises(UserError, match=r"reads 3 columns, .* has 2"):
        open_external(wide, datasets.load(str(other)))


def test_what_is_no_model_is_one_sentence(tmp_path, data):
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="not an ONNX file"):
        open_external(tmp_path / "x.onnx", data)
    with pytest.raises(UserError, match="no file"):
        open_external(tmp_path / "y.onnx", data)


def test_weights_in_a_file_beside_the_model_are_found(tmp_path, data):
    model = linear(tmp_path / "m.onnx")
    onnx.save(
        onnx.load(model), tmp_path / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    np.testing.assert_allclose(positive(tmp_path / "e.onnx", data), expected(), atol=1e-5)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(UserError, match=r"the external weights of .*e\.onnx cannot be read"):
        open_external(tmp_path / "e.onnx", data)


def test_the_command_line_shows_the_guess_predicts_and_warns_of_swapped_classes(
    tmp_path, data, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    linear(tmp_path / "base.onnx")

    def run(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            cli.main(["predict", *arguments])
        assert stop.value.code == code
        return capsys.readouterr()

    assert "columns: encoded  # guessed" in run("base=base.onnx", "--data", "my.yaml", "--dry-run").out
    assert not (tmp_path / "preds.parquet").exists()
    shown = run("base=base.onnx", "--data", "my.yaml", "--out", "preds.parquet")
    assert "fairpress audit preds.parquet --baseline base --positive yes --by sex" in shown.out
    assert not shown.err
    (tmp_path / "base.model.yaml").write_text("classes: ['yes', 'no']\n", encoding="utf-8")
    assert (
        "less than always predicting one class"
        in run("base=base.onnx", "--data", "my.yaml", "--out", "p.csv").err
    )
    assert "name the dataset with `--data`" in run("base=base.onnx", "--out", "q.csv", code=2).err
