"""How much smaller and faster networks are without half of their neurons, channels or heads.

``python benchmarks/pruned_units.py``, or with the names of some networks: a table for a page, a row for each file. The
networks have random weights and are fine-tuned for one step: neither bytes nor time depend on the values. Times are those
of `fairpress bench` on one thread of ONNX Runtime; in brackets the 95 % interval of the speedup over the whole network.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import timm
import torch
import torchvision
from torch import nn

import fairpress as fp
from fairpress.core.estimate import Estimate

ROWS = 64
STEPS = f"epochs=1,batch_size={ROWS}"
Build = Callable[[], nn.Module]


def mlp() -> nn.Module:
    """Return an MLP of 512, 512 and 256 units for the 7 columns of COMPAS."""
    layers, n_inputs = [], 7
    for width in (512, 512, 256):
        layers += [nn.Linear(n_inputs, width), nn.ReLU()]
        n_inputs = width
    return nn.Sequential(*layers, nn.Linear(n_inputs, 2))


def conv1d() -> nn.Module:
    """Return five convolutions over 6 channels of 256 samples, such as those of a motion sensor."""
    layers: list[nn.Module] = []
    channels = 6
    for width in (64, 128, 128, 256, 256):
        layers += [nn.Conv1d(channels, width, 5, 2, 2), nn.BatchNorm1d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, 2))


def vit() -> nn.Module:
    network: nn.Module = timm.create_model("vit_small_patch16_224", img_size=64, num_classes=2)
    return network


# name → (network, shape of a row, steps before quantization)
NETWORKS: dict[str, tuple[Build, tuple[int, ...], tuple[str, ...]]] = {
    "mlp, 512, 512, 256": (mlp, (7,), ("prune-neurons-50", "prune-neurons-80")),
    "five Conv1d, 256 samples": (conv1d, (6, 256), ("prune-channels-50",)),
    "resnet18, 64 px": (
        lambda: torchvision.models.resnet18(num_classes=2),
        (3, 64, 64),
        ("prune-channels-50",),
    ),
    "timm vit_small, 64 px": (vit, (3, 64, 64), ("prune-heads-50",)),
}


def speedup(ratio: Estimate | None) -> str:
    """Return a speedup with its interval."""
    if ratio is None or ratio.value is None or ratio.low is None or ratio.high is None:
        return ""
    return f"{ratio.value:.2f}× [{ratio.low:.2f}, {ratio.high:.2f}]"


def rows(name: str) -> list[str]:
    """Return the rows of the table for a network."""
    build, shape, steps = NETWORKS[name]
    torch.manual_seed(0)
    network = build()
    x, y = torch.randn(2 * ROWS, *shape), torch.arange(2 * ROWS) % 2
    loader = [(x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])]
    recipes = {"fp32": "fp32"}
    for step in steps:
        recipes[step] = f"{step}({STEPS})"
    recipes |= {"int8": "int8", f"{steps[0]}+int8": f"{steps[0]}({STEPS})+int8"}
    with warnings.catch_warnings():  # that the network guesses
        warnings.simplefilter("ignore")
        files = {short: fp.compress(network, recipe, data=loader) for short, recipe in recipes.items()}
    batches = [1, 1000] if len(shape) == 1 else [1, 32]
    result = fp.bench(files, batch=batches, seconds=30)
    sizes = {s.model: s.bytes for s in result.sizes}
    lines = []
    for short in files:
        measured = {m.batch: m for m in result.measurements if m.model == short}
        times = [
            f"{1e3 * measured[batch].median:.3f} | {speedup(measured[batch].speedup)}" for batch in batches
        ]
        smaller = sizes["fp32"] / sizes[short]
        lines.append(
            f"| {name} | `{short}` | {sizes[short] / 1e6:.3f} | {smaller:.2f}× | {' | '.join(times)} |"
        )
    return lines


def main() -> None:
    names = sys.argv[1:] or list(NETWORKS)
    print("| network | recipe | MB | smaller | ms, one row | faster | ms, 32 rows (tables: 1,000) | faster |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        for line in rows(name):
            print(line, flush=True)


if __name__ == "__main__":
    main()
