"""The error of a compressed file that is not what was requested."""

from __future__ import annotations

from fairpress.core.errors import FairpressError


class VerificationError(FairpressError):
    """A quantized file is not what was asked for, and is not shipped."""
