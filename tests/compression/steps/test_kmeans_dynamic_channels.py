"""Weight clustering, dynamic quantization, and pruning of whole channels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from scipy.cluster.vq import kmeans2
from torch import nn

import fairpress as fp
from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.compression.steps.kmeans import clustered
from fairpress.core.errors import UserError
from fairpress.models import registry
from fairpress.models.torchvision_models import MobileNetV2
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import operators, run
from fairpress.runtime.backends.registry import Backend, open_session
from made_dataset import make_pictures
from trained import easy, images, residual


def created(recipe: str) -> Artifact:
    data, bases = easy()
    return compress(bases[:1], parse(recipe), data[:1], [0])[0]


def batches(rows: int = 640):
    x, y = images(rows, 77)
    return [(x[at : at + 64], y[at : at + 64]) for at in range(0, rows, 64)]


def accuracy(artifact: Artifact) -> float:
    rows = easy()[0][0].part("test")
    return float((run(artifact.onnx, rows.inputs).argmax(1) == rows.labels).mean())


def test_clusters_are_those_of_scipy_from_the_same_start():
    weight = torch.randn(40, 50, generator=torch.Generator().manual_seed(1))
    values, index = clustered(weight, 8)
    start = np.linspace(float(weight.min()), float(weight.max()), 8)
    peer, label = kmeans2(weight.double().numpy().ravel(), start, iter=100, minit="matrix")
    np.testing.assert_allclose(values.numpy(), np.sort(peer.ravel()), atol=1e-6)
    np.testing.assert_allclose(values[index].numpy().ravel(), peer.ravel()[label], atol=1e-6)


def test_a_few_different_values_are_kept_as_they_are():
    weight = torch.tensor([[0.5, -1.0], [0.5, 2.0]])
    values, index = clustered(weight, 16)
    assert torch.equal(values[index], weight)
    assert torch.equal(clustered(torch.zeros(2, 3), 4)[1], torch.zeros(2, 3, dtype=torch.int64))


def test_zeros_stay_and_nothing_else_becomes_one():
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(2))
    weight[weight.abs() < 0.5] = 0
    values, index = clustered(weight, 4, zero=True)
    assert len(values) == 4
    assert torch.equal(values[index] == 0, weight == 0)


@pytest.mark.parametrize(("clusters", "bits"), [(4, 2), (5, 4), (40, 8)])
def test_the_file_stores_packed_indices_and_few_values(clusters, bits):
    artifact = created(f"kmeans-{clusters}")
    kinds = {2: TensorProto.INT2, 4: TensorProto.INT4, 8: TensorProto.UINT8}
    model = onnx.load_from_string(artifact.onnx)
    indices = [t for t in model.graph.initializer if t.data_type == kinds[bits] and len(t.dims) == 2]
    assert len(indices) == 3
    for t in indices:
        assert len(t.raw_data) == -(-int(np.prod(t.dims)) * bits // 8)
        assert len(np.unique(numpy_helper.to_array(t).astype(int))) <= clusters
    assert artifact.card.provenance["details"]["bits"] == {"1": bits, "3": bits, "5": bits}
    assert artifact.size < easy()[1][0].size
    assert "Gather" not in operators(artifact.onnx)  # looked up once, at load


def test_clustered_weights_decide_as_the_network_and_on_both_runtimes():
    x = easy()[0][0].part("test").inputs
    artifact = created("kmeans-16")
    assert accuracy(artifact) > accuracy(easy()[1][0]) - 0.02
    assert artifact.onnx == created("kmeans-16").onnx
    for data in (artifact.onnx, created("kmeans-4").onnx):
        np.testing.assert_allclose(open_session(data, Backend("openvino")).run(x), run(data, x), atol=1e-4)


def test_pruned_weights_are_zero_in_the_clustered_file():
    artifact = created("prune-80(epochs=1)+kmeans-16")
    (before,) = compress(easy()[1][:1], parse("prune-80(epochs=1)"), easy()[0][:1], [0])
    weights = [v for _, v in sorted(from_bytes(before.weights).items()) if v.dim() == 2]
    graph = onnx.load_from_string(artifact.onnx).graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    cast = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast"}
    looked_up = [
        stored[n.input[0]][stored[cast[n.input[1]]].astype(int)] for n in graph.node if n.op_type == "Gather"
    ]
    # Weights are found by where their zeros are: the file orders them otherwise.
    zeros = {w.shape: (w == 0).numpy() for w in weights}
    for values in looked_up:
        np.testing.assert_array_equal(values == 0, zeros[values.shape])


def test_dynamic_quantization_runs_every_layer_on_integers_and_says_what_it_depends_on():
    artifact = created("int8-dynamic")
    assert operators(artifact.onnx)["DynamicQuantizeMatMul"] == 3
    assert accuracy(artifact) > accuracy(easy()[1][0]) - 0.05
    assert "other rows of its batch" in artifact.card.provenance["details"]["activation_ranges"]
    assert created("int8-dynamic(keep=1)").card.provenance["details"]["bits"] == {"3": 8, "5": 8, "1": 32}
    with pytest.raises(UserError, match="no layer 'two'"):
        created("int8-dynamic(keep=two)")


def test_dynamic_quantization_of_convolutions_is_refused_with_the_reason():
    with pytest.raises(
        UserError, match=r"3 convolutions, the largest 'second\.0'.*slower than fp32.*take int8"
    ):
        fp.compress(residual(), "int8-dynamic", data=batches())


def test_whole_channels_go_and_what_is_left_is_quantized():
    net = residual()
    small = fp.compress(net, "prune-channels(share=0.5,round_to=2,epochs=2)+int8", data=batches())
    reported = small.card.provenance["details"]
    assert reported["channels"]["weights_after"] < 0.5 * reported["channels"]["weights_before"]
    assert reported["integer_kernels"] == 4
    x, y = images(1000, 99)
    assert (run(small.onnx, x.numpy()).argmax(1) == y.numpy()).mean() > 0.8
    assert net.wide.weight.shape[0] == 8


def test_what_cannot_lose_channels_is_said():
    with pytest.raises(UserError, match="round_to=1"):
        fp.compress(residual(), "prune-channels-50", data=batches())
    with pytest.raises(UserError, match="this one has none"):
        created("prune-channels-50")

    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 8)
            self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            x = self.stem(x).flatten(2).mT
            return self.head(self.mix(x, x, x)[0].mean(1))

    with pytest.raises(UserError, match=r"layer 'mix' \(MultiheadAttention\), since they belong to heads"):
        fp.compress(Attending(), "prune-channels-50", data=batches())


def test_the_placebo_of_pruned_channels_is_that_of_any_such_training():
    assert str(parse("prune-channels-50").placebo()) == "placebo"
    assert str(parse("prune-channels-50+int8").placebo()) == "placebo"
    assert str(parse("prune-channels(share=0.25)")) == "prune-channels-25"


@pytest.mark.slow
def test_a_pruned_model_folder_goes_on(monkeypatch, tmp_path):
    """The card holds the shapes, so that the network can be made again, pruned again, and quantized."""
    import torchvision

    def body(self, shape, n_classes):
        return torchvision.models.MobileNetV2(n_classes, 0.5, [[1, 16, 1, 1], [6, 24, 1, 2]])

    monkeypatch.setattr(MobileNetV2, "body", body)
    faces = make_pictures(16)
    training = {"max_epochs": 8, "way": "fp32", "learning_rate": 3e-3, "batch_size": 16}
    base = fp.train("mobilenet_v2", faces, training=training, device="cpu")
    once = fp.compress(base, "prune-channels-50(epochs=2)", data=faces)
    again = Artifact.load(once.save(tmp_path / "pruned"))
    assert again.size < 0.6 * base.size
    channels = again.card.architecture["channels"]
    assert channels["body.features.0.0.weight"] == [8, 3, 3, 3]
    own = registry.build(registry.get("mobilenet_v2", channels=channels), (3, 16, 16), 2)
    own.load_state_dict(from_bytes(again.weights))
    small = fp.compress(again, "int8", data=faces)
    assert small.card.recipe == "prune-channels-50(epochs=2)+int8"
    table = fp.predict({"base": base, "small": small}, faces)
    right = [np.mean(np.array(table[m]) == np.array(table["label"])) for m in ("base", "small")]
    assert right[0] > 0.9
    assert right[1] > right[0] - 0.1
