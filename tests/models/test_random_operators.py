"""What is random in evaluation mode, or depends on the batch, is named: the operator, its line and its layer."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fairpress.models.random_operators import depends_on_batch, is_random, random_operators

ROWS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class MonteCarloDropout(nn.Dropout):
    def forward(self, x):
        return F.dropout(x, self.p, training=True)


class InForward(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.first, self.draw, self.last = nn.Linear(6, 8), draw, nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.draw(self.first(x)))


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (
            nn.Sequential(nn.Linear(6, 8), MonteCarloDropout(), nn.Linear(8, 2)),
            r"dropout \(line \d+ of .*\) in layer '1'",
        ),
        (
            InForward(lambda h: F.dropout(h, 0.5)),
            r"dropout \(line \d+ of .*\) in its forward.*training=self.training",
        ),
        (
            InForward(lambda h: h + torch.randn_like(h)),
            r"randn_like .* in its forward.*draw in training only",
        ),
    ],
)
def test_random_operators_are_named(net, named):

    assert re.search(named, is_random(net.eval(), ROWS))


def test_dropout_that_is_off_is_not_random():
    net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 2)).train()
    assert random_operators(net, ROWS) == {}
    assert net.training


def test_drawing_does_not_change_the_global_generator():
    state = torch.random.get_rng_state()
    assert random_operators(nn.Sequential(MonteCarloDropout()), ROWS)
    assert torch.equal(state, torch.random.get_rng_state())


def test_batch_norm_without_running_statistics_is_named():
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False))
    assert "layer '1' is a batch norm without running statistics" in depends_on_batch(net, 7)
    assert "sums over the first axis" in depends_on_batch(nn.Linear(2, 2), 7)
