"""The exporter's translations are read once, and what one export adds to them does not reach the next."""

import torch
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from fairpress.models.export import export_graph
from fairpress.models.exporter_registry import translations_read_once


def test_a_later_export_reads_no_translation_again_and_gives_the_same_file(monkeypatch):
    module, example = nn.Sequential(nn.Linear(3, 2), nn.LogSigmoid()).eval(), torch.zeros(2, 3)
    export_graph(module, example)  # loads further operators of torch
    first = export_graph(module, example).SerializeToString(deterministic=True)

    def read_again():
        raise AssertionError("the translations are read again")

    monkeypatch.setattr(
        "torch.onnx._internal.exporter._registration.onnxscript_apis.get_torchlib_ops", read_again
    )
    assert export_graph(module, example).SerializeToString(deterministic=True) == first


def test_a_translation_that_is_added_is_not_kept():
    target = torch.ops.aten.log_sigmoid.default
    with translations_read_once():
        table = ONNXRegistry.from_torchlib()
        before = len(table.get_decomps(target))
        table.register_op(target, lambda x: x)
        assert len(table.get_decomps(target)) == before + 1
        assert len(ONNXRegistry.from_torchlib().get_decomps(target)) == before


def test_the_exporter_is_left_as_it_was():
    before = ONNXRegistry.__dict__["from_torchlib"]
    with translations_read_once():
        assert ONNXRegistry.__dict__["from_torchlib"] is not before
    assert ONNXRegistry.__dict__["from_torchlib"] is before
