"""Addresses that may hold credentials: what may be shown of them, and what must never be told."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from fairpress.core.errors import UserError


def shown(address: str) -> str:
    """Return an address without user, password and options, for messages and reports.

    Raises UserError where they cannot be told apart from the rest; the sentence holds nothing of the address.
    """
    scheme, _, rest = address.partition("://")
    parts = urlsplit(address)
    if "#" in rest or "@" in (parts.path + parts.query) or parts.netloc.count("@") > 1:
        raise UserError(
            f"the {scheme} address cannot be read; write / # ? @ in a user or password in percent form (%2F %23 %3F %40), "
            "or leave both out and set them where the driver looks for them."
        )
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def secrets_of(address: str) -> tuple[str, ...]:
    """Return what an address holds of user, password and options, in percent form and plain, the longest first."""
    parts = urlsplit(address)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    values = [value for _, value in parse_qsl(parts.query)]
    found = {user, password, parts.query, *values}
    return tuple(sorted({f for t in found for f in (t, unquote(t)) if f}, key=len, reverse=True))


def said(error: Exception, secrets: Sequence[str] = ()) -> str:
    """Return ``: `` and the first line of an error, without secrets; nothing where it says nothing."""
    line = (str(error).strip().splitlines() or [""])[0]
    for secret in secrets:
        line = line.replace(secret, "…")
    return f": {line[:200]}" if line else ""
