"""Addresses that may contain credentials: what may be shown of them, and what must stay secret."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from fairpress.core.errors import UserError

_SECRET = (
    r"(?:pass(?:word|wd|phrase)?|pwd|token|secret|credential|signature|api_?key|access_?key|private_?key)"
)
_LOGIN = re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^\s'\"<>]*@")
_PATTERNS = (
    (re.compile(r"(\b[a-zA-Z][\w+.-]*://[^\s'\"<>?]*)\?[^\s'\"<>]+"), r"\1?…"),
    (re.compile(rf"(?i)(\b\w*{_SECRET}s?['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,;&)}}\]]+)"), r"\1…"),
)
_MIN_SECRET_LENGTH = 6
"""Minimum length of an environment value to redact: a shorter one occurs in any text."""


def redact_url(address: str) -> str:
    """Return an address without user, password and options, for messages and reports.

    Raises UserError if they cannot be separated from the rest; the message contains nothing of the address.
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


def credentials_in(address: str) -> tuple[str, ...]:
    """Return the user, password and options of an address, percent-encoded and plain, the longest first."""
    parts = urlsplit(address)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    values = [value for _, value in parse_qsl(parts.query)]
    raw_values = {user, password, parts.query, *values}
    return tuple(
        sorted(
            {secret for raw in raw_values for secret in (raw, unquote(raw)) if secret}, key=len, reverse=True
        )
    )


def first_line(error: Exception, secrets: Sequence[str] = ()) -> str:
    """Return ``: `` and the first line of an error, without secrets; empty text if it has no message."""
    line = (str(error).strip().splitlines() or [""])[0]
    for secret in secrets:
        line = line.replace(secret, "…")
    return f": {line[:200]}" if line else ""


def without_secrets(text: str) -> str:
    """Return a text of unknown origin, such as a traceback, without what looks like a credential.

    That is the user, password and options of addresses; what is assigned to a name such as ``password``; and the
    values of such variables of the environment.
    """
    names = re.compile(f"(?i){_SECRET}")
    values = [v for n, v in os.environ.items() if names.search(n) and len(v) >= _MIN_SECRET_LENGTH]
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "…")
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return without_logins(text)


def without_logins(text: str) -> str:
    """Return a text without the user and password of the addresses in it."""
    return _LOGIN.sub(r"\1…@", text)
