"""Traced graphs that the exporter translates as they are: the files are those of an export from the module."""

import pytest
import torch
from torch import nn

from fairpress.models import export
from fairpress.models.export import export_many, export_with_names
from fairpress.models.lowered_program import lowered_program
from fairpress.models.tracing import fold_graph, trace
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.onnx.weight_packing import finalize


class Residual(nn.Module):
    """Operators of image networks that write into their input, and two that the exporter decomposes."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = nn.functional.relu(self.norm(self.conv(x)), inplace=True)
        y = nn.functional.hardtanh(self.inner(x), 0.0, 6.0, inplace=True)
        y += x
        x = nn.functional.adaptive_avg_pool2d(y, 1).flatten(1)
        return self.head(nn.functional.dropout(x, training=self.training))


class Texts(nn.Module):
    """An encoder of token ids of any length."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(50, 16), nn.Embedding(20, 16)
        block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 2)

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.blocks(x).mean(1))


class Written(nn.Module):
    """Writes into a value that is read under another name afterwards."""

    def __init__(self, reads):
        super().__init__()
        self.reads, self.layer = reads, nn.Linear(4, 4)

    def forward(self, x):
        hidden = self.layer(x)
        other = self.reads(hidden)
        hidden.relu_()
        return hidden + other.reshape(hidden.shape)


IMAGES, IDS, ROWS = torch.rand(2, 3, 8, 8), torch.randint(0, 50, (2, 7)), torch.randn(2, 4)


def exported(network, example):
    graph = fold_graph(trace(network.eval(), example))
    state = {k: v.detach() for k, v in (*graph.named_parameters(), *graph.named_buffers())}
    return finalize(export_with_names(graph, state, example))


@pytest.mark.parametrize(("make", "example"), [(Residual, IMAGES), (Texts, IDS)])
def test_the_file_is_that_of_an_export_from_the_module(make, example, monkeypatch):
    torch.manual_seed(0)
    network = make()
    real, lowered = export.lowered_program, []
    monkeypatch.setattr(export, "lowered_program", lambda graph: lowered.append(real(graph)) or lowered[-1])
    from_graph = exported(network, example)
    monkeypatch.setattr(export, "lowered_program", lambda graph: None)
    assert lowered[0] is not None
    assert from_graph == exported(network, example)


def test_an_operator_without_a_translation_is_decomposed():
    class Pool(nn.Module):
        def forward(self, x):
            return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)

    graph = trace(Pool().eval(), IMAGES)
    assert lowered_program(graph) is not None
    assert exported(Pool(), IMAGES).count(b"AveragePool") == 1


@pytest.mark.parametrize(
    "reads",
    [
        lambda hidden: hidden[:, :4],
        lambda hidden: hidden.view(hidden.shape[0], 2, 2),
        lambda hidden: nn.functional.dropout(hidden, training=False),
    ],
)
def test_a_graph_that_writes_into_a_value_with_another_name_is_refused(reads):
    assert lowered_program(trace(Written(reads).eval(), ROWS)) is None


def test_a_value_that_is_written_into_may_have_been_read_before():
    network = Written(lambda hidden: hidden * 2).eval()
    graph = trace(network, ROWS)
    program = lowered_program(graph)
    assert program is not None
    assert not any("relu_" in str(node.target) for node in program.graph.nodes)
    assert torch.equal(program.module()(ROWS), network(ROWS))


def test_a_graph_that_is_translated_wrongly_as_it_is_is_traced_once_more(monkeypatch):
    def wrong(graph):
        program = lowered_program(graph)
        for node in program.graph.nodes:
            if node.target is torch.ops.aten.relu.default:
                node.target = torch.ops.aten.sigmoid.default
        return program

    torch.manual_seed(0)
    network, rows = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), torch.randn(40, 4)
    monkeypatch.setattr(export, "lowered_program", wrong)
    (wrong_file,) = export_many(network, [network.state_dict()], ROWS)
    (file,) = export_many(network, [network.state_dict()], ROWS, rows=[rows])
    assert b"Sigmoid" in wrong_file
    torch.testing.assert_close(torch.from_numpy(run(file, rows.numpy())), network(rows).detach())


def test_the_graph_stays_as_it_was():
    graph = trace(Residual().eval(), IMAGES)
    before = str(graph.graph)
    assert lowered_program(graph) is not None
    assert str(graph.graph) == before
