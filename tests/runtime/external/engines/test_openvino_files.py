"""ONNX files of other tools and OpenVINO's own format on OpenVINO: the scores of ONNX Runtime, or one sentence."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fairpress import api, datasets
from fairpress.core.errors import UserError
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.registry import choose
from fairpress.runtime.external.engines.registry import load
from fairpress.runtime.external.model import open_external
from fairpress.runtime.predict import predictions
from small_model import write_table
from tiny_texts import mean_of_embeddings, text_dataset, tokenizer, transformers_export

pytest.importorskip("openvino", reason="the extra openvino is not installed")

from fairpress.runtime.backends.openvino import capabilities, module

WEIGHTS = np.float32([[-1, 1], [-2, 2], [0.5, -0.5]])
NO_BF16 = "BF16" not in capabilities()


def network(rows: int | str = "n", ending: str | None = None) -> onnx.ModelProto:
    """x [n, 3] → logits y [n, 2], or their softmax."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if ending:
        nodes.append(helper.make_node(ending, ["y"], ["p"], axis=1))
    last = "p" if ending else "y"
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, d]) for name, d in (("x", 3), (last, 2))
    )
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(WEIGHTS, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_ir(model: onnx.ModelProto, path) -> None:
    openvino = module()
    openvino.save_model(
        openvino.Core().read_model(model.SerializeToString()), str(path), compress_to_fp16=False
    )


@pytest.fixture
def data(tmp_path):
    return datasets.load(str(write_table(tmp_path, 300)))


def scores(path, dataset, runtime):
    backend = choose(runtime)
    return (
        open_external(path, dataset, None, backend)
        .answers(dataset, np.arange(len(dataset)), backend)
        .probabilities
    )


@pytest.mark.parametrize("rows", ["n", 1, 64])
@pytest.mark.parametrize("ending", [None, "Softmax"])
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_scores_are_those_of_numpy(tmp_path, data, rows, ending, suffix):
    path = tmp_path / f"m{suffix}"
    model = network(rows, ending)
    onnx.save(model, path) if suffix == ".onnx" else save_ir(model, path)
    logits = data.inputs @ WEIGHTS
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    np.testing.assert_allclose(scores(path, data, "openvino")[:, 1], expected, atol=1e-6)


def test_an_open_file_knows_its_names_types_operators_and_sizes(tmp_path):
    save_ir(network(ending="Softmax"), tmp_path / "m.xml")
    engine = load(tmp_path / "m.xml", Backend("openvino", threads=2))
    assert [str(i) for i in engine.inputs] == ["x tensor(float) [n, 3]"]
    assert engine.outputs == {"p": "tensor(float)"}
    assert list(engine.operators_to("p"))[:2] == ["Softmax", "MatMul"]
    assert engine.max_rows == 2**29 // (4 * (3 + 2 + 2))
    assert engine.facts["threads"] == 2
    assert engine.facts["precision"] == "f32"


@pytest.mark.skipif(NO_BF16, reason="this processor does not compute in bfloat16")
def test_bfloat16_is_another_precision_and_says_so(tmp_path, data):
    onnx.save(network(), tmp_path / "m.onnx")
    table = predictions(
        {"a": open_external(tmp_path / "m.onnx", data, None, choose("openvino-bf16"))},
        data,
        runtimes={"a": choose("openvino-bf16")},
    )
    facts = json.loads(table.schema.metadata[b"fairpress.runtimes"])["a"]
    assert facts["precision"] == "bf16"
    logits = data.inputs[data.index("test")] @ WEIGHTS
    expected = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    difference = np.abs(np.array(table["a.score"]) - expected).max()
    assert 1e-5 < difference < 0.05


def test_runtimes_stand_side_by_side_in_one_table(tmp_path, data):
    onnx.save(network(), tmp_path / "m.onnx")
    save_ir(network(), tmp_path / "m.xml")
    path = str(tmp_path / "m.onnx")
    table = api.predict(
        {
            "ort": path,
            "exact": f"{path}@onnxruntime-exact",
            "ov": f"{path}@openvino",
            "ir": str(tmp_path / "m.xml"),
        },
        data,
    )
    facts = json.loads(table.schema.metadata[b"fairpress.runtimes"])
    assert [facts[m]["runtime"].split()[0] for m in ("ort", "exact", "ov", "ir")] == [
        "onnxruntime",
        "onnxruntime",
        "openvino",
        "openvino",
    ]
    assert facts["exact"]["options"] == {"session.x64quantprecision": "1"}
    for name in ("exact", "ov", "ir"):
        assert table[name].to_pylist() == table["ort"].to_pylist()


def test_weights_beside_an_onnx_file_and_beside_the_xml_are_read(tmp_path, data):
    onnx.save(network(), tmp_path / "e.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    expected = scores(tmp_path / "e.onnx", data, "onnxruntime")
    np.testing.assert_allclose(scores(tmp_path / "e.onnx", data, "openvino"), expected, atol=1e-6)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(UserError, match=r"there is no .*w\.bin"):
        scores(tmp_path / "e.onnx", data, "openvino")
    save_ir(network(), tmp_path / "m.xml")
    (tmp_path / "m.bin").unlink()
    with pytest.raises(
        UserError, match=r"the weights of .*m\.xml are missing: there is no .*m\.bin; copy it there"
    ):
        scores(tmp_path / "m.xml", data, "openvino")


def test_texts_give_the_scores_of_onnx_runtime(tmp_path):
    dataset = text_dataset()
    (tmp_path / "m.onnx").write_bytes(transformers_export())
    (tmp_path / "tokenizer.json").write_bytes(tokenizer().data)
    (tmp_path / "config.json").write_text(
        json.dumps({"id2label": {"0": "positive", "1": "negative", "2": "neutral"}, "pad_token_id": 0})
    )
    (tmp_path / "m.model.yaml").write_text("max_length: 16\n")
    expected = scores(tmp_path / "m.onnx", dataset, "onnxruntime")
    np.testing.assert_allclose(scores(tmp_path / "m.onnx", dataset, "openvino"), expected, atol=1e-5)


def test_token_ids_beyond_the_embedding_are_refused_because_openvino_would_read_zeros(tmp_path):
    dataset = text_dataset()
    (tmp_path / "m.onnx").write_bytes(mean_of_embeddings(40))
    (tmp_path / "tokenizer.json").write_bytes(tokenizer().data)
    text = "max_length: 16\npad_id: 0\nclasses: [negative, neutral, positive]\nactivation: softmax\n"
    (tmp_path / "m.model.yaml").write_text(text)
    with pytest.raises(UserError, match=r"the embedding of .* has only 40 rows"):
        scores(tmp_path / "m.onnx", dataset, "openvino")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<note>hello</note>", "is not an OpenVINO file: it has no <net>"),
        (b"\xff\xfe<net", "is damaged: it is not text"),
        (b'<net name="g" version="11"><layers></layers><edges></edges></net>', "m.xml"),
        (b"<net", r"OpenVINO .* cannot run .*m\.xml \(.*\); convert it again"),
    ],
)
def test_what_is_no_file_of_openvino_is_one_sentence(tmp_path, data, content, sentence):
    (tmp_path / "m.xml").write_bytes(content)
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(UserError, match=sentence):
        open_external(tmp_path / "m.xml", data, None, choose("openvino"))


def test_operators_that_openvino_lacks_are_a_sentence_with_the_way_out(tmp_path, data):
    node = helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0] * 3, scale=[1.0] * 3)
    model = network()
    model.graph.node.insert(0, node)
    model.graph.node[1].input[0] = "s"
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(UserError, match=r"OpenVINO .* cannot run .*m\.onnx .*; use @onnxruntime"):
        scores(tmp_path / "m.onnx", data, "openvino")


def test_bench_counts_the_weights_beside_the_xml(tmp_path):
    save_ir(network(), tmp_path / "m.xml")
    onnx.save(network(), tmp_path / "n.onnx")
    result = api.bench(
        {"ir": str(tmp_path / "m.xml"), "onnx": f"{tmp_path / 'n.onnx'}@openvino"}, batch=[1, 4], rounds=2
    )
    assert {(m.model, m.runtime) for m in result.measurements} == {("ir", "openvino"), ("onnx", "openvino")}
    assert result.sizes[0].bytes == sum((tmp_path / f"m{e}").stat().st_size for e in (".xml", ".bin"))


def test_the_weights_beside_a_file_are_named_for_what_they_are(tmp_path):
    (tmp_path / "net.xml").write_text("<net/>")
    (tmp_path / "net.bin").write_bytes(b"0")
    with pytest.raises(UserError, match="an OpenVINO file; name that file"):
        Artifact.load(tmp_path / "net.bin")
    (tmp_path / "net.xml").unlink()
    with pytest.raises(UserError, match="is a pickle"):
        Artifact.load(tmp_path / "net.bin")
