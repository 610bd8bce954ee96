"""What recipes make of some eighty networks: files held against their modules, by ONNX Runtime alone.

``python benchmarks/zoo.py docs/data/zoo.yaml`` measures what the file lacks and adds to it, so that it can be interrupted;
``--only 'LSTM|timm'`` takes networks by a regular expression, ``--recipes int8,w4`` some recipes, ``--again`` measures anew.
``--table docs/data/zoo.yaml`` prints the tables of docs/zoo.md and measures nothing.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from ruamel.yaml import YAML
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from zoo_of_networks import handmade, images, texts
from zoo_of_networks.measure import measure
from zoo_of_networks.table import tables

Inputs = Callable[[int, torch.Generator], dict[str, Tensor]]


def picture_rows(rows: int, generator: torch.Generator, *, side: int) -> dict[str, Tensor]:
    return {"x": images.pictures(rows, side, generator)}


def networks() -> dict[str, tuple[Callable[[], nn.Module], Inputs]]:
    """Return name → (what builds the network, what makes rows for it)."""
    pictures = {
        name: (build, partial(picture_rows, side=side))
        for name, (side, build) in images.all_networks().items()
    }
    return {**handmade.NETWORKS, **texts.all_networks(), **pictures}


def recipes_of(name: str, position: int) -> tuple[str, ...]:
    """Return the recipes for a network: int8, int8-dynamic (not for images), and one of the others in turn."""
    images_alone = name.startswith(("torchvision", "timm"))
    others = ("w4", "fp32", "int4", "w8", *(("int8-dynamic",) if images_alone else ()))
    return ("int8", *(() if images_alone else ("int8-dynamic",)), others[position % len(others)])


def main(path: Path, only: str, recipes: tuple[str, ...], again: bool) -> None:
    yaml = YAML()
    yaml.width = 200
    done: list[dict] = (yaml.load(path) if path.exists() else None) or []
    torch.set_num_threads(1)
    for position, (name, (build, inputs)) in enumerate(networks().items()):
        for recipe in recipes or recipes_of(name, position):
            same = [row for row in done if (row["network"], row["recipe"]) == (name, recipe)]
            if not re.search(only, name) or (same and not again):
                continue
            row = measure(name, recipe, build, inputs).row()
            print({k: v for k, v in row.items() if v is not None}, flush=True)
            done = [other for other in done if other not in same] + [row]
            temporary = path.with_suffix(".part")
            yaml.dump(done, temporary)
            temporary.replace(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--recipes", default="")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        print(tables(YAML(typ="safe").load(given.path)))
    else:
        main(given.path, given.only, tuple(filter(None, given.recipes.split(","))), given.again)
