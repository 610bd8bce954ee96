"""Folders of images with a table, and ways of damaging them: what must then be refused, and by which name."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROWS, SIZE = 24, 8
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
YAML = (
    f"path: t.csv\nimage: file\nlabel: y\npositive: 'yes'\nsensitive: [sex]\nsize: {SIZE}\nfolder: pictures\n"
)


@dataclass
class Folder:
    """A folder on disk, the lines of its table, and the picture of each file, uint8 [3, 8, 8]."""

    place: Path
    lines: list[list[str]]
    pixels: dict[str, np.ndarray]

    @property
    def pictures(self) -> Path:
        return self.place / "pictures"

    def write(self) -> Path:
        text = "\n".join(",".join(line) for line in [["file", "y", "sex"], *self.lines]) + "\n"
        (self.place / "t.csv").write_text(text, encoding="utf-8")
        (self.place / "d.yaml").write_text(YAML, encoding="utf-8")
        return self.place / "d.yaml"


@dataclass(frozen=True)
class Damage:
    """What was done: whether the set must still be read, what a refusal must name, and files whose pixels may be others."""

    accepted: bool | None
    names: str = ""
    changed: str = ""


def make(place: Path, seed: int) -> Folder:
    """Write images of one colour each in lossless and lossy formats, and a table of them."""
    rng = np.random.default_rng(seed)
    (place / "pictures").mkdir()
    folder = Folder(place, [], {})
    for i in range(ROWS):
        kind = FORMATS[int(rng.integers(len(FORMATS)))]
        name = f"{i}.{kind.lower()}"
        # Grey levels that a palette, a JPEG and the mean over equal pixels keep to a few units.
        level = int(rng.integers(10, 246))
        side = int(rng.integers(SIZE, 40))
        Image.new("RGB", (side, side + int(rng.integers(0, 9))), (level,) * 3).save(
            place / "pictures" / name, kind
        )
        folder.lines.append([name, ("no", "yes")[i % 2], "fm"[i // 2 % 2]])
        folder.pixels[name] = np.full((3, SIZE, SIZE), level, np.uint8)
    return folder


def _swap_bytes(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
    path = folder.pictures / name
    data = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 8))):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    path.write_bytes(data)
    return Damage(None, name, name)


def _truncate(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
    path = folder.pictures / name
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])
    return Damage(None, name, name)


def _header_only(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
    path = folder.pictures / name
    path.write_bytes(path.read_bytes()[:6])
    return Damage(False, name)


def _bytes(data: bytes) -> Callable[[Folder, str, np.random.Generator], Damage]:
    def damage(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
        (folder.pictures / name).write_bytes(data)
        return Damage(False, name)

    return damage


def _image(picture: Image.Image, kind: str) -> Callable[[Folder, str, np.random.Generator], Damage]:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return _bytes(stream.getvalue())


def _replaced(put: Callable[[Path], object]) -> Callable[[Folder, str, np.random.Generator], Damage]:
    def damage(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
        (folder.pictures / name).unlink()
        put(folder.pictures / name)
        return Damage(False, name)

    return damage


def _socket(path: Path) -> None:
    # A socket's path may have 100 bytes only: it is made by a short name and moved.
    with socket.socket(socket.AF_UNIX) as created:
        short = Path("/tmp") / f"s{os.getpid()}"
        created.bind(str(short))
    short.rename(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def _other_place(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
    outside = folder.place / "elsewhere"
    outside.mkdir()
    (folder.pictures / name).rename(outside / name)
    (folder.pictures / name).symlink_to(outside / name)
    return Damage(True)


def _other_format(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
    level = int(folder.pixels[name][0, 0, 0])
    Image.new("L", (30, 20), level).save(folder.pictures / name, "PNG")
    return Damage(True)


def _alone(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
    folder.lines = [line for line in folder.lines if line[0] != name]
    del folder.pixels[name]
    return Damage(True)


def _twice(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
    folder.lines.append(next(line for line in folder.lines if line[0] == name))
    return Damage(False, name)


def _renamed(
    to: Callable[[Folder, str], str], accepted: bool
) -> Callable[[Folder, str, np.random.Generator], Damage]:
    def damage(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
        new = to(folder, name)
        folder.lines = [[new, *line[1:]] if line[0] == name else line for line in folder.lines]
        folder.pixels[new] = folder.pixels.pop(name)
        return Damage(accepted, "" if accepted else new[:60])

    return damage


def _no_name(folder: Folder, name: str, rng: np.random.Generator) -> Damage:
    row = next(i for i, line in enumerate(folder.lines) if line[0] == name)
    folder.lines[row] = ["", *folder.lines[row][1:]]
    return Damage(False, "t.csv")


DAMAGES: dict[str, Callable[[Folder, str, np.random.Generator], Damage]] = {
    "bytes": _swap_bytes,
    "cut": _truncate,
    "a header alone": _header_only,
    "empty": _bytes(b""),
    "text": _bytes(b"no image at all"),
    "SVG": _bytes(b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'),
    "PostScript": _bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"),
    "16 bits": _image(Image.fromarray(np.zeros((9, 9), np.uint16)), "PNG"),
    "many pixels": _image(Image.new("1", (12_000, 9_000)), "PNG"),
    "absent": _replaced(lambda path: None),
    "a pipe": _replaced(os.mkfifo),
    "a folder": _replaced(Path.mkdir),
    "a socket": _replaced(_socket),
    "a device": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a broken link": _replaced(lambda path: path.symlink_to("nowhere.png")),
    "a link to itself": _replaced(lambda path: path.symlink_to(path.name)),
    "a terabyte": _replaced(_sparse),
    "a link elsewhere": _other_place,
    "another format than its name": _other_format,
    "no row": _alone,
    "two rows": _twice,
    "an absolute path": _renamed(lambda folder, name: str(folder.pictures / name), accepted=True),
    "a path through a parent": _renamed(lambda folder, name: f"../pictures/{name}", accepted=True),
    "another name": _renamed(lambda folder, name: f"x{name}", accepted=False),
    "a long name": _renamed(lambda folder, name: "n" * 300, accepted=False),
    "no name": _no_name,
}  # fmt: skip
