"""Fewer attempts of onnxscript's rules and fewer translations prepared by torch's exporter, and the same file."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from threading import Event, Thread

import pytest
import torch
from onnxscript.function_libs.torch_lib import registration
from onnxscript.rewriter import RewriteRule
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from fairpress.models import export
from fairpress.models.exporter_warnings import suppress_exporter_warnings
from fairpress.models.lowered_program import lowered_program
from fairpress.models.rewriting_by_operator import rules_by_operator
from fairpress.models.tracing import trace
from fairpress.models.translated_operators import translations_of


class Encoder(nn.Module):
    """A block of attention, whose export is rewritten in several places."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(50, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.table(ids)).mean(1))


IDS = torch.arange(24).view(2, 12)


def exported() -> bytes:
    graph = trace(Encoder().eval(), IDS)
    state = dict(graph.named_parameters())
    return export.export_with_names(graph, state, IDS).SerializeToString(deterministic=True)


def test_the_file_is_that_of_all_rules_and_all_translations(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = {True: 0, False: 0}
    original = RewriteRule.match

    def counted(self, *args, **options):  # type: ignore[no-untyped-def]
        tried[fast] += 1
        return original(self, *args, **options)

    monkeypatch.setattr(RewriteRule, "match", counted)
    fast = True
    file = exported()
    fast = False
    monkeypatch.setattr(export, "rules_by_operator", nullcontext)
    monkeypatch.setattr(export, "translations_of", nullcontext)
    assert exported() == file
    assert 0 < 5 * tried[True] < tried[False]


def test_rules_are_tried_everywhere_again_afterwards() -> None:
    original = RewriteRule.try_rewrite
    with rules_by_operator():
        assert RewriteRule.try_rewrite is not original
    assert RewriteRule.try_rewrite is original


def test_translations_are_those_of_the_graph_within_the_context_alone() -> None:
    lowered = lowered_program(trace(Encoder().eval(), IDS))
    assert lowered is not None
    with suppress_exporter_warnings(), translations_of(lowered.graph):
        few = ONNXRegistry.from_torchlib().functions
    with suppress_exporter_warnings():
        every = ONNXRegistry.from_torchlib().functions
    assert set(few) < set(every)
    targets = {node.target for node in lowered.graph.nodes if isinstance(node.target, torch._ops.OpOverload)}
    assert {t.name() for t in targets} & set(every) <= set(few)
    assert 5 * sum(str(name).startswith("aten::") for name in few) < len(every)


def test_exports_of_two_threads_do_not_take_each_others_translations() -> None:
    lowered = lowered_program(trace(Encoder().eval(), IDS))
    assert lowered is not None
    inside, done, left = Event(), Event(), []

    def other() -> None:
        inside.wait()
        with translations_of(lowered.graph):
            left.append(done.is_set())

    thread = Thread(target=other)
    thread.start()
    with translations_of(lowered.graph):
        few = registration.default_registry
        inside.set()
        thread.join(0.2)
        assert registration.default_registry is few
        done.set()
    thread.join()
    assert left == [True]
    assert type(registration.default_registry) is registration.Registry


def test_two_threads_export_one_after_the_other_and_leave_loggers_as_they_were() -> None:
    logger, exports = logging.getLogger("torch.onnx"), list[bytes]()
    before = logger.level, ONNXRegistry.__dict__["from_torchlib"]

    def export_one() -> None:
        net = nn.Sequential(nn.Linear(3, 2), nn.GELU()).eval()
        (data,) = export.export_many(net, [net.state_dict()], torch.zeros(2, 3))
        exports.append(data)

    threads = [Thread(target=export_one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(exports) == 2
    assert (logger.level, ONNXRegistry.__dict__["from_torchlib"]) == before
