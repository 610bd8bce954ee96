"""Versions of installed packages, and whether a server listens."""

from __future__ import annotations

import socket
from importlib import metadata

from fairpress.core.network import connection_problem
from fairpress.core.version import __version__, installed_version


def test_versions_are_those_of_the_metadata():
    assert installed_version("numpy") == metadata.version("numpy")
    assert installed_version("fairpress") == __version__
    assert installed_version("no-such-package") is None


def test_a_port_where_nothing_listens_has_a_problem():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert connection_problem("127.0.0.1", port) is None
    assert "refused" in connection_problem("127.0.0.1", port)
