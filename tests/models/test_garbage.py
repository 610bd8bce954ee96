"""Python's garbage collector pauses for an export, and is as it was afterwards."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from fairpress.core.errors import UserError
from fairpress.models.garbage import without_garbage_collection
from fairpress.models.tracing import trace


@pytest.fixture(autouse=True)
def enabled():
    gc.enable()
    yield
    gc.enable()


def test_a_collector_that_was_off_stays_off():
    with without_garbage_collection():
        assert not gc.isenabled()
        with without_garbage_collection():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_on_again_after_a_trace_that_fails():
    seen = []

    class Looking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(gc.isenabled())
            return x if x.sum() > 0 else -x

    with pytest.raises(UserError):
        trace(Looking(), torch.zeros(2, 3))
    assert seen == [False]
    assert gc.isenabled()
