"""Odd networks: a float file computes what its network computes, or one sentence says why there is none."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
import torch.nn.utils.prune as prune
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.runtime.backends.onnxruntime import operators, run

ROW, IMAGE, SERIES = (6,), (3, 12, 12), (5, 8)


class Net(nn.Module):
    """Layers by name, and a function of them and of x."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any], **layers: Any) -> None:
        super().__init__()
        self.function = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape))


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def changed(make: Callable[[], nn.Module], change: Callable[[Any], Any]) -> Callable[[], nn.Module]:
    def created() -> nn.Module:
        net = make()
        change(net)
        return net

    return created


def of_series(layer: nn.Module, wide: int) -> Net:
    return Net(lambda s, x: s.head(s.cell(x)[0][:, -1]), cell=layer, head=nn.Linear(wide, 3))


def moved(norm: nn.Module) -> nn.Module:
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(norm.weight)
    return norm


def tie(net: nn.Sequential, name: str, *places: int) -> None:
    for path in places[1:]:
        setattr(net[path], name, getattr(net[places[0]], name))


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def deep() -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(6, 6) for _ in range(3)), nn.Linear(6, 3))


def of_images(*layers: nn.Module, wide: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 3))


SAME: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    # weights that are read twice, once through something that is constant
    "weights tied to their transpose": (
        lambda: Net(
            lambda s, x: s.o(F.linear(F.relu(s.a(x)), s.a.weight.t())), a=nn.Linear(6, 20), o=nn.Linear(6, 3)
        ),
        ROW,
    ),
    "tied to their transpose behind a batch norm": (
        lambda: Net(
            lambda s, x: s.o(F.linear(F.relu(s.b(s.a(x))), s.a.weight.t())),
            a=nn.Linear(6, 20),
            b=moved(nn.BatchNorm1d(20)),
            o=nn.Linear(6, 3),
        ),
        ROW,
    ),
    "squared distances written out": (
        lambda: Net(
            lambda s, x: -(x.square().sum(1, keepdim=True) - 2 * F.linear(x, s.c) + s.c.square().sum(1)),
            c=nn.Parameter(100 * torch.randn(3, 6)),
        ),
        ROW,
    ),
    "log scales and their exponentials": (
        lambda: Net(
            lambda s, x: (-((x[:, None] - s.m) ** 2) * torch.exp(-2 * s.s) - s.s).sum(2),
            m=weight(3, 6),
            s=weight(3, 6),
        ),
        ROW,
    ),
    "one layer on rows and on series": (
        lambda: Net(lambda s, x: s.o(s.a(s.a(x).mean(1))), a=nn.Linear(8, 8), o=nn.Linear(8, 3)),
        SERIES,
    ),
    # shared layers
    "a linear layer twice": (
        lambda: Net(
            lambda s, x: s.o(torch.relu(s.a(torch.relu(s.a(x))))), a=nn.Linear(6, 6), o=nn.Linear(6, 3)
        ),
        ROW,
    ),
    "a linear layer twice on the same values": (
        lambda: Net(lambda s, x: torch.where(x[:, :1] > 0, s.a(x), -s.a(x)), a=nn.Linear(6, 3)),
        ROW,
    ),
    "a convolution twice": (
        lambda: Net(
            lambda s, x: s.o(s.c(s.c(x).relu()).relu().mean((2, 3))),
            c=nn.Conv2d(3, 3, 3, padding=1),
            o=nn.Linear(3, 3),
        ),
        IMAGE,
    ),
    "tied weights of two layers": (changed(deep, lambda n: tie(n, "weight", 0, 1)), ROW),
    "a tied bias before a batch norm": (
        changed(
            lambda: nn.Sequential(
                nn.Linear(6, 6), moved(nn.BatchNorm1d(6)), nn.Linear(6, 6), nn.Linear(6, 3)
            ),
            lambda n: tie(n, "bias", 0, 2),
        ),
        ROW,
    ),
    "a batch norm twice": (
        lambda: Net(
            lambda s, x: s.o(s.b(s.c(s.b(s.a(x)).relu()))),
            a=nn.Linear(6, 6),
            b=moved(nn.BatchNorm1d(6)),
            c=nn.Linear(6, 6),
            o=nn.Linear(6, 3),
        ),
        ROW,
    ),
    # weights that are computed
    "pruned by torch": (
        changed(plain, lambda n: (prune.l1_unstructured(n[0], "weight", 0.5), n(torch.randn(2, 6)))),
        ROW,
    ),
    "pruned LSTM": (
        changed(
            lambda: of_series(nn.LSTM(8, 8, batch_first=True), 8),
            lambda n: prune.l1_unstructured(n.cell, "weight_hh_l0", 0.5),
        ),
        SERIES,
    ),
    "weight norm": (changed(plain, lambda n: parametrizations.weight_norm(n[0])), ROW),
    "spectral norm": (
        changed(plain, lambda n: (parametrizations.spectral_norm(n[0]), n(torch.randn(2, 6)))),
        ROW,
    ),
    "spectral norm by a hook": (
        changed(plain, lambda n: (nn.utils.spectral_norm(n[0]), n(torch.randn(2, 6)))),
        ROW,
    ),
    "a mask that is a buffer": (
        lambda: Net(
            lambda s, x: s.o(F.linear(x, s.w * s.m).relu()),
            w=weight(8, 6),
            m=nn.Buffer((torch.rand(8, 6) > 0.5).float()),
            o=nn.Linear(8, 3),
        ),
        ROW,
    ),
    "tensors kept from earlier calls": (
        changed(plain, lambda n: setattr(n, "cache", {"old": [n[0].weight * 2]})),
        ROW,
    ),
    # layers
    "transposed convolution": (
        lambda: of_images(
            nn.Conv2d(3, 6, 3), nn.ReLU(), nn.ConvTranspose2d(6, 4, 3, stride=2), nn.ReLU(), wide=4
        ),
        IMAGE,
    ),
    "transposed convolution of series": (
        lambda: nn.Sequential(
            nn.ConvTranspose1d(5, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3)
        ),
        SERIES,
    ),
    "three-dimensional convolution": (
        lambda: nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)),
        (1, 4, 4, 4),
    ),
    "LSTM": (lambda: of_series(nn.LSTM(8, 8, batch_first=True), 8), SERIES),
    "GRU in both directions": (
        lambda: of_series(nn.GRU(8, 8, batch_first=True, bidirectional=True), 16),
        SERIES,
    ),
    "RNN of two layers": (lambda: of_series(nn.RNN(8, 8, 2, batch_first=True), 8), SERIES),
    "multi-head attention": (
        lambda: Net(
            lambda s, x: s.h(s.a(x, x, x, need_weights=False)[0].mean(1)),
            a=nn.MultiheadAttention(8, 2, batch_first=True),
            h=nn.Linear(8, 3),
        ),
        SERIES,
    ),
    "transformer layer": (
        lambda: Net(
            lambda s, x: s.h(s.a(x).mean(1)),
            a=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            h=nn.Linear(8, 3),
        ),
        SERIES,
    ),
    "PReLU": (lambda: nn.Sequential(nn.Linear(6, 16), nn.PReLU(16), nn.Linear(16, 3)), ROW),
    "group norm": (lambda: of_images(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), wide=8), IMAGE),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3)),
        ROW,
    ),
    "reflected padding": (
        lambda: of_images(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ELU(), wide=4),
        IMAGE,
    ),
    "bilinear": (
        lambda: Net(lambda s, x: s.b(x[:, :3], x[:, 3:]), b=nn.Bilinear(3, 3, 3)),
        ROW,
    ),
    "einsum": (lambda: Net(lambda s, x: torch.einsum("bi,oi->bo", x, s.w), w=weight(3, 6)), ROW),
    "a mixture of experts": (
        lambda: Net(
            lambda s, x: (torch.stack([e(x) for e in s.e], 1) * s.g(x).softmax(1)[..., None]).sum(1),
            e=nn.ModuleList([nn.Linear(6, 3) for _ in range(3)]),
            g=nn.Linear(6, 3),
        ),
        ROW,
    ),
    "an autograd function": (lambda: Net(lambda s, x: s.a(Square.apply(x)), a=nn.Linear(6, 3)), ROW),
    "activation checkpointing": (
        lambda: Net(lambda s, x: checkpoint(s.a, x, use_reentrant=False), a=nn.Linear(6, 3)),
        ROW,
    ),
    "no parameters": (lambda: Net(lambda s, x: x[:, :3] * 2 - x[:, 3:]), ROW),
    "classes that are ruled out": (
        lambda: Net(
            lambda s, x: s.a(x).masked_fill(torch.tensor([True, False, False]), -torch.inf),
            a=nn.Linear(6, 3),
        ),
        ROW,
    ),
    "log-softmax": (lambda: nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(1)), ROW),
    # wrappers and modes
    "DataParallel": (lambda: nn.DataParallel(plain()), ROW),
    "DataParallel inside": (
        lambda: nn.Sequential(nn.DataParallel(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 3)),
        ROW,
    ),
    "torch.compile": (lambda: torch.compile(plain()), ROW),
    "averaged weights": (lambda: torch.optim.swa_utils.AveragedModel(plain()), ROW),
    "in training mode": (
        lambda: nn.Sequential(
            nn.Linear(6, 16), moved(nn.BatchNorm1d(16)), nn.Dropout(), nn.Linear(16, 3)
        ).train(),
        ROW,
    ),
    "frozen layers": (changed(plain, lambda n: n[0].requires_grad_(False)), ROW),
    "a hook that changes values": (
        changed(plain, lambda n: n[0].register_forward_hook(lambda m, i, o: 2 * o)),
        ROW,
    ),
    "a hook that looks on": (
        changed(plain, lambda n: n[0].register_forward_hook(lambda m, i, o: None)),
        ROW,
    ),
    "a constant that is no buffer": (
        changed(lambda: Net(lambda s, x: s.a(x * s.k), a=nn.Linear(6, 3)), lambda n: setattr(n, "k", torch.randn(6))),
        ROW,
    ),
}  # fmt: skip


def created(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(0)
        return make()


def batches(shape: tuple[int, ...], rows: int = 160, classes: int = 3) -> list[Any]:
    x = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(1))
    return [(x, torch.arange(rows) % classes)]


def logits(net: nn.Module, x: torch.Tensor) -> np.ndarray:
    modes = [child.training for child in net.modules()]
    own = net._orig_mod if hasattr(net, "_orig_mod") else net
    with torch.no_grad():
        out = own.eval()(x).numpy()
    for child, mode in zip(net.modules(), modes, strict=True):
        child.training = mode
    return out


@pytest.mark.parametrize("name", list(SAME))
def test_the_float_file_computes_what_the_network_computes(name):
    make, shape = SAME[name]
    net, data = created(make), batches(shape)
    held = {k: v.clone() for k, v in net.state_dict().items()}
    modes = [child.training for child in net.modules()]
    drawn = torch.get_rng_state()
    artifact = fp.compress(net, "fp32", data=data)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert modes == [child.training for child in net.modules()]
    assert all(torch.equal(v, held[k]) for k, v in net.state_dict().items())
    x = torch.randn(64, *shape, generator=torch.Generator().manual_seed(2))
    wanted = logits(net, x)
    for size in (64, 1, 5):
        result = run(artifact.onnx, x.numpy(), batch=size)
        finite = np.abs(wanted[np.isfinite(wanted)]).max()
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5 * max(1, finite))


INTEGERS = (
    "a linear layer twice",
    "a linear layer twice on the same values",
    "a convolution twice",
    "tied weights of two layers",
    "weights tied to their transpose",
    "transposed convolution",
    "pruned by torch",
    "weight norm",
    "a batch norm twice",
    "transformer layer",
    "DataParallel",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*of the network's weights.*:UserWarning")
@pytest.mark.parametrize("recipe", ["int8", "w8", "kmeans-256", "int8-dynamic", "qat-int8(epochs=1)"])
@pytest.mark.parametrize("name", INTEGERS)
def test_files_of_integers_are_near_the_network_whatever_runs_twice(name, recipe):
    make, shape = SAME[name]
    net, data = created(make), batches(shape)
    if recipe == "int8-dynamic" and name == "a convolution twice":
        with pytest.raises(UserError, match="is for networks of linear layers"):
            fp.compress(net, recipe, data=data)
        return
    artifact = fp.compress(net, recipe, data=data)
    if recipe.startswith("qat"):  # it was trained on
        assert artifact.size < 20_000
        return
    expected = logits(net, data[0][0])
    # The file itself, by ONNX's definitions: sums of 8-bit products saturate in ONNX Runtime on processors without VNNI.
    reference = ReferenceEvaluator(onnx.load_model_from_string(artifact.onnx))
    predicted = reference.run(None, {reference.input_names[0]: data[0][0].numpy()})[0]
    assert np.sqrt(np.square(predicted - expected).mean()) < 0.1 * expected.std()


def test_a_layer_that_runs_twice_runs_on_integers_both_times():
    net = created(SAME["a linear layer twice"][0])
    artifact = fp.compress(net, "int8", data=batches(ROW))
    assert operators(artifact.onnx)["QGemm"] == 3
    assert artifact.card.provenance["details"]["bits"] == {"a": 8, "o": 8}


def test_zeros_of_torchs_pruning_stay_zero_in_further_training():
    net = created(SAME["pruned by torch"][0])
    artifact = fp.compress(net, "placebo(epochs=1)", data=batches(ROW))
    from fairpress.models.weights_io import from_bytes

    stored = from_bytes(artifact.weights)["0.weight"]
    assert torch.equal(stored == 0, net[0].weight_mask == 0)
    assert artifact.card.provenance["details"]["sparsity"] == pytest.approx(48 / 144)


def test_layers_that_stay_in_float_are_named():
    net = created(lambda: Net(lambda s, x: s.o((x + s.p).flatten(1)), p=weight(5, 8), o=nn.Linear(40, 3)))
    with pytest.warns(UserWarning, match=r"25\.0% of the network's weights stay in float, in 'p'"):
        artifact = fp.compress(net, "int8", data=batches(SERIES))
    details = artifact.card.provenance["details"]
    assert details["float_layers"] == {"p": 40}
    assert details["float_share"] == pytest.approx(40 / 160)
    assert set(details["bits"]) == {"o"}


@pytest.mark.parametrize("recipe", ["int8", "w8", "kmeans-16", "int8-dynamic"])
def test_an_integer_file_by_name_only_is_refused(recipe):
    net = created(
        lambda: Net(lambda s, x: s.o((x + s.p.sum(0)).mean(1)), p=weight(50, 5, 8), o=nn.Linear(8, 3))
    )
    with pytest.raises(UserError, match=r"99% of the network's weights would stay in float.*'p'.*take fp32"):
        fp.compress(net, recipe, data=batches(SERIES))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_become_float32_and_that_is_said(kind):
    net = created(plain).to(kind)
    x, y = batches(ROW)[0]
    name = str(kind).removeprefix("torch.")
    with pytest.warns(UserWarning, match=f"computes in {name}; its file computes in float32"):
        artifact = fp.compress(net, "fp32", data=[(x.to(kind), y)])
    assert all(p.dtype == kind for p in net.parameters())
    wanted = copy.deepcopy(net).float()(x).detach().numpy()
    np.testing.assert_allclose(run(artifact.onnx, x.numpy()), wanted, atol=1e-5)


@pytest.mark.parametrize("flat", [False, True])
def test_one_logit_becomes_two_whose_softmax_is_its_sigmoid(flat):
    net = created(lambda: Net(lambda s, x: s.f(x).squeeze(1) if flat else s.f(x), f=nn.Linear(6, 1)))
    x, y = batches(ROW, classes=2)[0]
    artifact = fp.compress(net, "fp32", data=[(x, y.float()[:, None])])
    result = run(artifact.onnx, x.numpy())
    assert result.shape == (160, 2)
    assert artifact.card.classes == ("0", "1")
    odds = net(x).detach().numpy().reshape(-1)
    np.testing.assert_allclose(
        1 / (1 + np.exp(result[:, 0] - result[:, 1])), 1 / (1 + np.exp(-odds)), atol=1e-6
    )


class Heads(NamedTuple):
    aux: torch.Tensor
    logits: torch.Tensor


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.f(x) + z


class Counting(nn.Module):
    def __init__(self, anew: bool) -> None:
        super().__init__()
        self.anew, self.f = anew, nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.anew:
            self.calls = self.calls + 1
        else:
            self.calls += 1
        return self.f(x)


def one(forward: Callable[[Any, torch.Tensor], Any]) -> Callable[[], nn.Module]:
    return lambda: Net(forward, f=nn.Linear(6, 3))


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(plain())


def traced() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(torch.jit.trace(nn.Linear(6, 6), torch.randn(2, 6)), nn.Linear(6, 3))


def quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear})


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "scripted": (scripted, "the network is a torch.jit module.*pass the nn.Module"),
    "traced inside": (traced, "layer '0' is a torch.jit module.*pass the nn.Module"),
    "quantized": (quantized, r"layer '0' \(Linear\) is already quantized.*pass the float network"),
    "lazy": (
        lambda: nn.Sequential(nn.LazyLinear(8), nn.Linear(8, 3)),
        r"'0\.weight' has no values yet.*on one batch",
    ),
    "meta": (lambda: nn.Linear(6, 3, device="meta"), "has no values"),
    "complex": (
        lambda: Net(lambda s, x: (x + 0j) @ s.w, w=nn.Parameter(torch.randn(6, 3, dtype=torch.cfloat))),
        "'w' is complex",
    ),
    "diverged": (changed(plain, lambda n: n[0].weight.data.fill_(torch.nan)), "'0.weight' has NaN"),
    "a lock": (changed(plain, lambda n: setattr(n, "lock", threading.Lock())), "cannot be copied.*lock"),
    "exported": (
        lambda: torch.export.export(plain().eval(), (torch.randn(2, 6),)).module(),
        "pass the module",
    ),
    "two inputs": (TwoInputs, r"takes 2 inputs \(x, z\).*give batches \(\(x, z\), y\)"),
    "two heads": (one(lambda s, x: (s.f(x), x)), r"returns tuple .*0 \(2, 3\), 1 \(2, 6\).*net\(x\)\[0\]"),
    "a named tuple": (one(lambda s, x: Heads(x, s.f(x))), r"returns Heads .*net\(x\)"),
    "nothing": (one(lambda s, x: None), "returns NoneType"),
    "decisions": (one(lambda s, x: s.f(x).argmax(1)), "returns int64 numbers.*remove argmax"),
    "probabilities": (one(lambda s, x: s.f(x).softmax(1)), "returns probabilities.*remove its last softmax"),
    "NaN": (one(lambda s, x: s.f(x).log()), "returns NaN for"),
    "dropout": (
        one(lambda s, x: s.f(F.dropout(x, training=True))),
        r"called again, even in evaluation mode: dropout \(line \d+ of .* in its forward",
    ),
    "noise": (one(lambda s, x: s.f(x) + 1e-3 * torch.rand(1)), "different outputs for the same rows"),
    "noise of numpy": (one(lambda s, x: s.f(x) * np.random.rand()), "different outputs for the same rows"),  # noqa: NPY002
    "the mean of a batch": (one(lambda s, x: s.f(x - x.mean(0))), "depends on the other rows of its batch"),
    "the size of a batch": (one(lambda s, x: s.f(x) * x.shape[0]), "depends on the other rows of its batch"),
    "batch norm of the batch": (
        lambda: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        "1 row at a time",
    ),
    "the size as a number": (
        one(lambda s, x: s.f(x).view(int(x.shape[0]), 3)),
        "some batch sizes only",
    ),
    "a loop over rows": (one(lambda s, x: torch.stack([s.f(r) for r in x])), "some batch sizes only"),
    "a branch": (one(lambda s, x: s.f(x) if x.sum() > 0 else -s.f(x)), "without control flow"),
    "a counter": (lambda: Counting(False), "changes its tensor 'calls'"),
    "a counter made anew": (lambda: Counting(True), "changes its tensor 'calls'"),
    "other columns": (lambda: nn.Sequential(nn.Linear(7, 3)), "layer '0' cannot read rows of 6 numbers"),
}  # fmt: skip


@pytest.mark.parametrize("recipe", ["fp32", "int8"])
@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_function_of_a_row_is_refused_in_a_sentence(name, recipe):
    make, sentence = REFUSED[name]
    net, data = created(make), batches(ROW)
    with pytest.raises(UserError, match=sentence) as raised:
        fp.compress(net, recipe, data=data)
    assert "\n" not in str(raised.value)


def test_a_single_probability_is_refused():
    net = created(lambda: nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()))
    with pytest.raises(UserError, match=r"returns a probability .* remove its last sigmoid"):
        fp.compress(net, "fp32", data=batches(ROW, classes=2))


def test_codes_are_read_as_floats_by_a_module_that_makes_them_whole():
    net = created(
        lambda: Net(lambda s, x: s.f(s.e(x.long()).flatten(1)), e=nn.Embedding(9, 4), f=nn.Linear(24, 3))
    )
    x = torch.randint(0, 9, (160, 6), generator=torch.Generator().manual_seed(0))
    artifact = fp.compress(net, "fp32", data=[(x, torch.arange(160) % 3)])
    np.testing.assert_allclose(run(artifact.onnx, x.float().numpy()), net(x).detach().numpy(), atol=1e-5)


def test_outputs_without_labels_are_pointed_out():
    with pytest.warns(
        UserWarning, match="has 8 outputs, but the loader's 160 rows have the labels 0, 1, 2 only"
    ):
        fp.compress(created(lambda: nn.Linear(6, 8)), "fp32", data=batches(ROW))


def test_what_hooks_store_is_no_ghost_of_the_export():
    seen: list[torch.Tensor] = []
    net = created(plain)
    net[0].register_forward_hook(lambda m, i, o: seen.append(o))
    fp.compress(net, "fp32", data=batches(ROW))
    assert all(type(value) is torch.Tensor for value in seen)


X, Y = batches(ROW)[0]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ((X, Y), r"`data=\(x, y\)` is one batch.*data=\[\(x, y\)\]"),
        ([], "yields no batch"),
        (iter(()), "yields no batch"),
        (X, "`data=` must be a dataset or an iterable of batches"),
        (3, "`data=` must be a dataset or an iterable of batches"),
        ([X], "yields Tensor"),
        (torch.utils.data.TensorDataset(X, Y), "DataLoader"),
        ([((X, X), Y)], "the batches have 2 inputs, and the network's forward takes input"),
        (
            [({"a": X}, Y)],
            "the batches name the inputs a, and the network's forward does not take a; it takes input",
        ),
        ([{"input": X}], "has the keys input; a dictionary holds its labels under one of these keys: labels"),
        ([(X, Y), ((X, X), Y)], "batch 2 has other inputs than the batches before it"),
        ([(X, F.one_hot(Y))], r"one column per class.*y\.argmax\(1\)"),
        ([(X, Y + 0.5)], "have a label 0.5, and the network has 3 outputs; labels must be class indices"),
        ([(X, Y - 1)], r"has the label -1, but the network has 3 outputs.*unique"),
        ([(X, Y + 1)], r"has the label 3, but the network has 3 outputs.*y - 1"),
        ([(X, ["a"] * 160)], "labels .* of type text"),
        ([(X, Y[:5])], "one label for each row"),
        ([(X, Y), (X[:, :4], Y)], "batch 2 has rows of 4 .*the batches before it rows of 6"),
        ([(X, Y, ["a"] * 160), (X, Y)], "give groups in all batches or in none"),
        ([(X, Y, ["a"] * 3)], r"groups \(3,\) for 160 rows"),
        ([(X, Y, [None] * 160)], "rows without a group"),
        ([(X * torch.nan, Y)], "missing or infinite values"),
        ([(torch.full((160, 6), 2**40), Y)], "integers above 16,777,216"),
        ([(np.full((160, 6), "a"), Y)], "convert them to numbers"),
        ((1 / 0 for _ in range(3)), "the loader failed after 0 batches"),
    ],
)
def test_a_loader_that_cannot_be_read_is_one_sentence(data, sentence):
    with pytest.raises(UserError, match=sentence):
        fp.compress(created(plain), "fp32", data=data)


def test_labels_may_be_a_column_of_whole_floats_and_groups_keep_their_spelling():
    artifact = fp.compress(created(plain), "fp32", data=[(X, Y[:, None].double(), ["02134", "2134"] * 80)])
    assert artifact.card.classes == ("0", "1", "2")


class _PositionsAndWeights(nn.Module):
    """Attention that returns its weights, on looked-up positions: its folded graph has other activations than it trains."""

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(50, 32), nn.Embedding(7, 32)
        self.attention, self.last = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 2)

    def forward(self, ids):
        hidden = self.words(ids) + self.positions(torch.arange(7))
        return self.last(self.attention(hidden, hidden, hidden)[0].mean(1))


def test_a_network_whose_graphs_differ_is_not_trained_quantized():
    ids = torch.randint(1, 50, (60, 7), generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="take a recipe without training, such as int8"):
        fp.compress(_PositionsAndWeights().eval(), "qat-int8(epochs=1)", data=[(ids, ids[:, 0] % 2)])
