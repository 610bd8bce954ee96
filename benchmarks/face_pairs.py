"""Does quantization change whom a face embedding confuses? UTKFace, by race and age; tables for docs/verification.md.

    python benchmarks/face_pairs.py [--epochs 6] [--train 6000] [--size 48] [--out DIR]

UTKFace names nobody, so a "person" is an image here, and "the same person" two random crops of it with other light,
contrast and noise. That asks whether an embedding holds on to a face under such changes; it does not ask whether it knows a
face again years later. Impostors are other images of the same race and age group. The network is trained here, on the
training part, to tell images apart (the loss of SimCLR, Chen et al. 2020, temperature 0.2); thresholds are chosen on the
validation and calibration parts and audited on the test part.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

import fairpress as fp
from fairpress.core.estimate import Estimate
from fairpress.datasets.dataset import Part

ATTRIBUTES = ("race", "age_group")
BLOCKS = {"other": 40, "test": 4}
RECIPES = ("int8", "int4", "int4(rounding=gptq)", "w4")
SETTINGS = {0.01: "1 in 100", 0.001: "1 in 1,000"}


class Embedder(nn.Module):
    """uint8 images [rows, 3, side, side] to embeddings [rows, 64]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            layers += [
                nn.Conv2d(a, b, 3, stride=1 if i == 0 else 2, padding=1, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(9 * 128, 64))

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.features(x.float() / 127.5 - 1))


def view(images: Tensor, generator: torch.Generator, side: int) -> Tensor:
    """Return each image [rows, 3, larger, larger] cropped at random to `side`, in another light, with noise."""
    rows, free = len(images), images.shape[-1] - side + 1
    out = torch.empty(rows, 3, side, side)
    offsets = torch.randint(free, (rows, 2), generator=generator).tolist()
    for i, (y, x) in enumerate(offsets):
        out[i] = images[i, :, y : y + side, x : x + side].float()
    flip = torch.rand(rows, generator=generator) < 0.5
    out[flip] = out[flip].flip(-1)
    contrast = 0.6 + 0.8 * torch.rand(rows, 1, 1, 1, generator=generator)
    light = 80 * torch.rand(rows, 1, 1, 1, generator=generator) - 40
    tint = 30 * torch.rand(rows, 3, 1, 1, generator=generator) - 15
    noise = 12 * torch.randn(out.shape, generator=generator)
    mean = out.mean((1, 2, 3), keepdim=True)
    return ((out - mean) * contrast + mean + light + tint + noise).clamp(0, 255).to(torch.uint8)


def train(images: Tensor, side: int, epochs: int) -> nn.Module:
    torch.manual_seed(0)
    network, generator = Embedder(), torch.Generator().manual_seed(0)
    steps = epochs * (len(images) // 256)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    network.train()
    for epoch in range(epochs):
        started, total = time.time(), 0.0
        for rows in torch.randperm(len(images), generator=generator).split(256)[: len(images) // 256]:
            both = torch.cat([view(images[rows], generator, side) for _ in range(2)])
            z = nn.functional.normalize(network(both), dim=1)
            similarity = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
            partner = torch.arange(2 * len(rows)).roll(len(rows))
            loss = nn.functional.cross_entropy(similarity, partner)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(
            f"epoch {epoch + 1}: {total / (len(images) // 256):.3f}, {time.time() - started:.0f} s",
            flush=True,
        )
    return network.eval()


def embed_faces(given: argparse.Namespace) -> None:
    """Train the network, compress it, and write sizes and the embeddings of two views of the other and the test faces."""
    side, larger = given.size, given.size + given.size // 5
    data = fp.load_dataset("utkface", target="sex", size=larger, test_share=0.4)
    pixels = torch.from_numpy(np.asarray(data.inputs))

    def rows_of(*parts: Part) -> np.ndarray:
        return np.concatenate([data.index(part) for part in parts])

    generator = torch.Generator().manual_seed(1)
    training = rows_of("train")[: given.train]
    network = train(pixels[training], side, given.epochs)
    batches = [view(pixels[part], generator, side) for part in torch.from_numpy(training[:2000]).split(200)]
    models = {
        recipe: fp.compress(network, recipe, data=batches, outputs="embedding")
        for recipe in ("fp32", *RECIPES)
    }
    given.out.mkdir(exist_ok=True)
    for name, rows in (("other", rows_of("validation", "calibration")), ("test", rows_of("test"))):
        images = pixels[torch.from_numpy(rows)]
        twice = torch.cat([view(images, generator, side) for _ in range(2)])
        columns = {"person": pa.array(np.tile(rows, 2))}
        columns |= {a: pa.array(np.tile(data.attributes[a][rows], 2)) for a in ATTRIBUTES}
        columns |= {m: pa.array(list(fp.embed(artifact, twice))) for m, artifact in models.items()}
        pq.write_table(pa.table(columns), given.out / f"{name}.parquet")
    (given.out / "sizes.json").write_text(json.dumps({m: a.size for m, a in models.items()}))


def pairs_of(path: Path, models: Sequence[str], block: int) -> pa.Table:
    """Return pairs of the faces whose embeddings a file has, within blocks of this size."""
    table = pq.read_table(path)
    embeddings = {m: np.stack(table[m].to_numpy(zero_copy_only=False)) for m in models}
    attributes = {a: table[a].to_pylist() for a in ATTRIBUTES}
    return fp.draw_pairs(embeddings, table["person"].to_pylist(), attributes, people_per_block=block)


def report(out: Path) -> None:
    """Print, for each setting, the errors of every model and what an audit of the compressed ones says."""
    sizes = json.loads((out / "sizes.json").read_text())
    # A threshold wants many pairs of two people, an audit many independent blocks.
    other, test = (pairs_of(out / f"{n}.parquet", list(sizes), block) for n, block in BLOCKS.items())
    for name, table in (("other", other), ("test", test)):
        same = int(np.sum(np.array(table["label"]) == "same"))
        blocks = len(set(table["block"].to_pylist()))
        print(f"{name}: {same:,} pairs of one face, {table.num_rows - same:,} of two, {blocks:,} blocks")
    for fmr, words in SETTINGS.items():
        chosen = fp.thresholds(other, list(sizes), fpr=fmr, positive="same", subject="block")
        audit = fp.audit(
            test,
            baseline="fp32",
            compressed=list(sizes)[1:],
            by=["race", "age_group"],
            decide={t.model: t.decide for t in chosen},
            positive="same",
            subject="block",
            harm="fnr",
            min_rows=100,
        )
        audit.to_html(out / f"audit-{fmr:g}.html", force=True)
        print(f"\nFMR {words} on other people\n")
        print("| model | KB | threshold | FMR % | FNMR % | verdict | FNMR rises by at most |")
        print("|---|--:|--:|--:|--:|---|---|")
        comparisons = {c.compressed: c for c in audit.comparisons}
        for threshold, model in zip(chosen, audit.models, strict=True):
            rates = model.overall.rates
            verdict, bound = "", ""
            if (c := comparisons.get(threshold.model)) is not None:
                verdict = c.verdict
                if c.bounds and c.bounds[0].upper is not None:
                    group = ", ".join(map(str, c.bounds[0].upper_group.values()))
                    bound = f"{math.ceil(1000 * c.bounds[0].upper) / 10:.1f} points ({group})"
            cells = (
                threshold.threshold,
                _cell(rates["fpr"]),
                _cell(rates["fnr"]),
                verdict,
                bound,
            )
            row = " | ".join(str(cell) for cell in cells)
            print(f"| `{threshold.model}` | {sizes[threshold.model] / 1000:.0f} | {row} |")
        for comparison in audit.comparisons:
            print(f"\n{comparison.compressed}: {comparison.headline}")
        by_group(audit)


def by_group(audit: fp.AuditReport) -> None:
    """Print FNMR and FMR of every group under the baseline, and their rise under each compressed model, in points."""
    baseline, *_ = audit.models
    print("\n| group | FNMR, FMR of fp32, % |" + "".join(f" {c.compressed} |" for c in audit.comparisons))
    print("|---|--:|" + "--:|" * len(audit.comparisons))
    for group in baseline.groups:
        cells = [_cell(group.rates["fnr"]) + ", " + _cell(group.rates["fpr"])]
        for comparison in audit.comparisons:
            (changed,) = (g for a in comparison.attributes for g in a.groups if g.values == group.values)
            cells.append(_rise(changed.changes["fnr"]) + ", " + _rise(changed.changes["fpr"]))
        print(f"| {', '.join(map(str, group.values.values()))} | {' | '.join(cells)} |")


def _rise(rate: Estimate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "–"
    return f"{100 * rate.value:+.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _cell(rate: Estimate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "–"
    return f"{100 * rate.value:.2f} [{100 * rate.low:.2f}, {100 * rate.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--train", type=int, default=6000)
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("face-pairs"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not (given.out / "sizes.json").exists():
        embed_faces(given)
    report(given.out)


if __name__ == "__main__":
    main()
