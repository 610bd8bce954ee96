"""Networks that read token ids are exported for any batch size and length."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fairpress.models import equivalence
from fairpress.models.equivalence import EquivalenceError, check_file_equivalence, reference
from fairpress.models.export import export_many
from fairpress.models.registry import build
from fairpress.models.text_encoder import TextEncoder

SMALL = TextEncoder(layers=2, width=32, heads=2, feedforward=64, vocabulary=300, max_length=128)


def token_ids(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    """Token ids that begin with one that is no padding; the second half of every other row is padding."""
    ids = torch.randint(1, 300, (rows, length), generator=torch.Generator().manual_seed(seed))
    ids[1::2, max(1, length // 2) :] = SMALL.pad_id
    return ids


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build(SMALL, (128,), 3, seed=1).eval()


@pytest.fixture(scope="module")
def file(network: nn.Module) -> bytes:
    return export_many(
        network, [network.state_dict()], token_ids(2, 5), rows=[token_ids(equivalence.MIN_ROWS, 128)]
    )[0]


def test_the_input_has_its_name_and_two_dynamic_dimensions(file: bytes) -> None:
    (given,) = onnx.load_from_string(file).graph.input
    assert given.name == "input_ids"
    assert given.type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert [d.dim_param for d in given.type.tensor_type.shape.dim] == ["batch", "length"]


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 17, 128])
def test_the_file_equals_the_network_on_onnxruntime(
    network: nn.Module, file: bytes, rows: int, length: int
) -> None:
    ids = token_ids(rows, length, seed=rows * length)
    with torch.no_grad():
        expected = network(ids).numpy()
    computed = onnxruntime.InferenceSession(file).run(None, {"input_ids": ids.numpy()})[0]
    np.testing.assert_allclose(computed, expected, atol=2e-6)


def test_the_file_equals_the_network_on_openvino(network: nn.Module, file: bytes) -> None:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    model = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for rows, length in ((1, 2), (3, 17), (3, 128)):
        ids = token_ids(rows, length)
        with torch.no_grad():
            expected = network(ids).numpy()
        np.testing.assert_allclose(model(ids.numpy())[0], expected, atol=2e-6)


def test_an_example_as_long_as_its_batch_fixes_neither(network: nn.Module) -> None:
    (file,) = export_many(network, [network.state_dict()], token_ids(2, 2))
    ids = token_ids(3, 7)
    computed = onnxruntime.InferenceSession(file).run(None, {"input_ids": ids.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(computed, network(ids).numpy(), atol=2e-6)


class Windows(nn.Module):
    """Computes otherwise where a text is longer than `limit`, which a traced graph cannot know."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.table, self.limit = nn.Embedding(300, 4), limit

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.table(ids).mean(1)
        return values if ids.shape[1] > self.limit else values * 2


def test_a_network_that_treats_short_texts_otherwise_is_refused() -> None:
    torch.manual_seed(0)
    net = Windows(limit=20).eval()
    rows = token_ids(equivalence.MIN_ROWS, 64)
    with pytest.raises(EquivalenceError, match="cut to 2"):
        export_many(net, [net.state_dict()], rows[:2], rows=[rows])


def test_codes_of_a_fixed_number_of_columns_are_checked_in_that_number_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(300, 4), nn.Flatten(), nn.Linear(20 * 4, 3)).eval()
    rows = token_ids(equivalence.MIN_ROWS, 20)
    expected = reference(net, net.state_dict(), rows)
    assert expected.shorter == ()
    (file,) = export_many(net, [net.state_dict()], rows[:2], rows=[rows])
    check_file_equivalence(file, expected)
