"""Training of one network: what it promises to whoever calls it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from fairpress.core.errors import UserError
from fairpress.training import precision
from fairpress.training.augment import Augment
from fairpress.training.checkpoints import FILE, TrainingCheckpoint
from fairpress.training.data import Data
from fairpress.training.fairalm import FairAlm
from fairpress.training.memmap_rows import MemmapRows
from fairpress.training.precision import FORMATS, TrainingFormat, fastest
from fairpress.training.schedule import Schedule
from fairpress.training.trainer import train_module

FOUR = Schedule(epochs=4, batch_size=16, learning_rate=3e-3, weight_decay=0.01, shape="one_cycle")


def network(dropout: float = 0.2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(4 * 36, 2),
    )


def rows(count: int = 70, seed: int = 0, noise: float = 0.0) -> Data:
    """Images whose first colour tells the label."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    x = rng.normal(size=(count, 3, 8, 8)).astype(np.float32)
    x[:, 0] += (2 * y - 1)[:, None, None]
    y = np.where(rng.random(count) < noise, 1 - y, y)
    return Data(torch.from_numpy(x), torch.from_numpy(y))


def test_the_rate_rises_for_a_quarter_and_falls_to_nothing():
    at = [FOUR.rate(done) for done in (0.0, 0.125, 0.25, 0.625, 1.0)]
    assert at == pytest.approx([3e-3 / 25, (3e-3 + 3e-3 / 25) / 2, 3e-3, 1.5e-3, 0.0])
    cosine = Schedule(1, 1, 1.0, shape="cosine")
    assert [cosine.rate(d) for d in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    assert Schedule(1, 1, 0.5, shape="constant").rate(0.9) == 0.5


def test_it_learns_and_the_module_ends_in_the_returned_state():
    module, reported = network(), []
    trained = train_module(
        module, rows(200), Schedule(10, 16, 1e-2), seed=0, validation=rows(60, 1), on_epoch=reported.append
    )
    assert trained.best.validation_accuracy > 0.9
    assert list(trained.epochs) == reported
    assert not module.training
    assert all(torch.equal(v, trained.state[k]) for k, v in module.state_dict().items())


def test_equal_seeds_give_equal_networks_and_the_global_generator_stays_put():
    networks = [network(), network(), network()]
    before = torch.random.get_rng_state()
    a, b, c = (
        train_module(module, rows(), FOUR, seed=seed, augment=Augment()).state
        for module, seed in zip(networks, (1, 1, 2), strict=True)
    )
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert any(not torch.equal(a[k], c[k]) for k in a)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("patience", [None, 3])
def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path, patience):
    def train(checkpoint=None, stop_after=None):
        def stop(epoch):
            if epoch.number == stop_after:
                raise KeyboardInterrupt

        return train_module(
            network(),
            rows(),
            FOUR,
            seed=3,
            training_format=FORMATS["fp32-channels-last"],
            augment=Augment(),
            validation=rows(40, 1),
            patience=patience,
            checkpoint=checkpoint,
            on_epoch=stop,
        )

    checkpoint = TrainingCheckpoint(tmp_path / "scratch", "this")
    checkpoint.prepare()
    for stop_after in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            train(checkpoint, stop_after)
    resumed, whole = train(checkpoint), train()
    assert resumed.resumed_after == 3
    assert resumed.best_epoch == whole.best_epoch
    assert all(torch.equal(resumed.state[k], v) for k, v in whole.state.items())
    assert [e.loss for e in resumed.epochs] == [e.loss for e in whole.epochs]


def test_what_another_training_left_or_half_a_file_is_not_gone_on_from(tmp_path):
    one = TrainingCheckpoint(tmp_path, "one", {"way": "fp32"})
    train_module(network(), rows(), Schedule(1, 16, 1e-3), seed=0, checkpoint=one)
    assert one.remembered() == {"way": "fp32"}
    another = TrainingCheckpoint(tmp_path, "another")
    assert another.of_another()
    assert another.read() is None
    assert (
        train_module(network(), rows(), Schedule(2, 16, 1e-3), seed=0, checkpoint=another).resumed_after == 0
    )
    data = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(data[: len(data) // 2])
    assert another.read() is None


def test_a_checkpoint_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another folder for `out=`"):
        TrainingCheckpoint(tmp_path / "file" / "x", "key").prepare()


def test_early_stopping_returns_the_epoch_of_lowest_validation_loss():
    contrary = rows(60, 1)
    contrary = Data(contrary.inputs, 1 - contrary.labels)  # the more is learned, the worse
    trained = train_module(
        network(), rows(200), Schedule(9, 16, 1e-2), seed=0, validation=contrary, patience=2
    )
    losses = [e.validation_loss for e in trained.epochs]
    assert len(losses) < 9
    assert trained.best_epoch == int(np.argmin(losses)) + 1 == len(losses) - 2
    last = train_module(network(), rows(200), Schedule(3, 16, 1e-2), seed=0, validation=contrary)
    assert last.best_epoch == len(last.epochs) == 3


def test_after_each_step_a_caller_may_change_the_parameters():
    seen = []

    def prune(done, parameters):
        seen.append(done)
        parameters["5.weight"][:, ::2] = 0

    state = train_module(network(), rows(64), FOUR, seed=0, after_step=prune).state
    assert seen == pytest.approx([(i + 1) / 16 for i in range(16)])
    assert (state["5.weight"][:, ::2] == 0).all()
    assert (state["5.weight"][:, 1::2] != 0).all()


def test_a_graph_from_torch_export_is_trained_though_it_has_no_train():
    batch = {0: torch.export.Dim("batch", min=2)}
    graph = torch.export.export(network(0.0).eval(), (rows(4).inputs,), dynamic_shapes=(batch,)).module()
    with pytest.raises(NotImplementedError):
        graph.train()
    before = {k: v.clone() for k, v in graph.state_dict().items()}
    trained = train_module(graph, rows(200), Schedule(8, 16, 1e-2), seed=0, validation=rows(60, 1))
    assert trained.best.validation_accuracy > 0.9
    assert not torch.equal(before["0.weight"], trained.state["0.weight"])


def test_a_training_that_diverges_says_what_to_do():
    with pytest.raises(UserError, match=r"diverged in epoch 1.*lower the learning rate, now 1e\+30"):
        train_module(network(), rows(), Schedule(2, 16, 1e30, shape="constant"), seed=0)


def test_selected_rows_are_those_of_the_part_and_read_when_asked_for(tmp_path):
    whole = np.memmap(tmp_path / "x", np.uint8, "w+", shape=(50, 3, 4, 4))
    whole[:] = np.arange(50)[:, None, None, None]
    part = np.array([7, 3, 40, 9])
    some = MemmapRows(whole, part)
    assert some.shape == (4, 3, 4, 4)
    assert some[torch.tensor([2, 0])][:, 0, 0, 0].tolist() == [40, 7]
    assert some[:2][:, 0, 0, 0].tolist() == [7, 3]
    whole[3] = 99
    assert some[1:2].unique().tolist() == [99]


def test_augmented_images_are_mirrored_and_moved_within_bounds():
    x = torch.arange(2 * 3 * 16 * 16, dtype=torch.uint8).view(2, 3, 16, 16)
    same = Augment(flip=False, shift=0)(x, torch.Generator().manual_seed(0))
    assert torch.equal(same, x)
    many = x[:1].expand(64, -1, -1, -1)
    flipped = Augment(shift=0)(many, torch.Generator().manual_seed(0))
    as_was = torch.tensor([torch.equal(i, x[0]) for i in flipped])
    mirrored = torch.tensor([torch.equal(i, x[0].flip(2)) for i in flipped])
    assert (as_was ^ mirrored).all()
    assert 16 < int(mirrored.sum()) < 48
    moved = Augment(flip=False, shift=0.125)(many, torch.Generator().manual_seed(0))
    corners = {int(v) for v in moved[:, 0, 8, 8]}
    rows_, columns = zip(*[divmod(v, 16) for v in corners], strict=True)
    assert (min(rows_), max(rows_), min(columns), max(columns)) == (6, 10, 6, 10)


def timed(monkeypatch, seconds):
    calls = []

    def fake(way, module, x, y, device, steps):
        calls.append((way.name, steps))
        if math.isnan(seconds[way.name]):
            raise RuntimeError("no kernel")
        return seconds[way.name] * len(x)

    monkeypatch.setattr(precision, "_seconds", fake)
    x, y = torch.zeros(32, 3, 4, 4), torch.zeros(32)
    return *fastest(nn.Identity(), x, y, torch.device("cpu")), calls


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((1.0, 0.5, 0.7, 0.8), "fp32-channels-last"),
        ((1.0, 0.95, 3.0, 3.0), "fp32"),  # five per cent are noise
        ((1.0, 0.8, 0.3, 0.28), "bf16"),
        ((1.0, float("nan"), 0.4, float("nan")), "bf16"),
    ],
)
def test_the_fastest_way_is_taken_the_plainest_of_equals(monkeypatch, seconds, chosen):
    way, speed, _ = timed(monkeypatch, dict(zip(FORMATS, seconds, strict=True)))
    assert way.name == chosen
    assert speed == pytest.approx({n: 1 / s for n, s in zip(FORMATS, seconds, strict=True) if s == s})


def test_a_hopeless_way_is_given_up_after_a_few_rows(monkeypatch):
    _, _, calls = timed(
        monkeypatch, {"fp32": 1.0, "fp32-channels-last": 0.9, "bf16": 30.0, "bf16-channels-last": 1.0}
    )
    assert ("bf16", 1) in calls
    assert ("bf16", precision.STEPS) not in calls
    assert ("bf16-channels-last", precision.STEPS) in calls


def test_ways_are_really_tried(monkeypatch):
    data = rows(16)
    way, speed = fastest(network(), data.inputs, data.labels, torch.device("cpu"))
    assert isinstance(way, TrainingFormat)
    assert {"fp32", "fp32-channels-last"} <= set(speed)
    assert all(rate > 0 for rate in speed.values())


def test_an_interrupted_constrained_training_ends_as_one_that_was_not(tmp_path):
    own = rows()
    own = Data(own.inputs, own.labels, torch.arange(len(own.labels)) % 2)
    checkpoint = TrainingCheckpoint(tmp_path, "one")
    checkpoint.prepare()

    def train(retained: TrainingCheckpoint | None = None, stop: int | None = None):
        objective = FairAlm("celeba", 2.0, 2, (1, 0), 1, torch.tensor([[True, True]]))

        def on_epoch(epoch):
            if epoch.number == stop:
                raise KeyboardInterrupt

        created = train_module(
            network(), own, FOUR, seed=3, checkpoint=retained, on_epoch=on_epoch, objective=objective
        )
        return created.state, objective

    with pytest.raises(KeyboardInterrupt):
        train(checkpoint, stop=2)
    (resumed, first), (whole, second) = train(checkpoint), train()
    assert all(torch.equal(resumed[k], v) for k, v in whole.items())
    assert torch.equal(first.multipliers, second.multipliers)
    assert first.multipliers.abs().max() > 0
    assert first.step == second.step == pytest.approx(2 * 1.01**4)
