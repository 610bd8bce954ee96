"""The versions of fairpress and of the packages it uses."""

from __future__ import annotations

from functools import cache

__version__ = "0.2.0"


@cache
def installed_version(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed.

    It is read from the package's metadata, without importing it, and cached: a process keeps the modules it has loaded.
    """
    from importlib import metadata

    if package == "fairpress":
        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
