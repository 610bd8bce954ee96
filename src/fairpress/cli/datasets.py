"""`fairpress data …`: the datasets."""

from __future__ import annotations

from cyclopts import App

from fairpress.cli.program import app, say

data = App(name="data", help="Look at the datasets that ship with fairpress.")
app.command(data)


@data.command(name="list")
def data_list() -> int:
    """List the datasets that ship with fairpress."""
    from fairpress import datasets

    for name in datasets.names():
        say(name, markup=False)
    return 0


@data.command(name="fetch")
def data_fetch(name: str, /) -> int:
    """Bring a dataset's files onto this machine, checked by sha256.

    Example: fairpress data fetch compas

    Parameters
    ----------
    name
        A dataset's name.
    """
    from fairpress import datasets

    for path in datasets.fetch(name):
        say(str(path), markup=False)
    return 0
