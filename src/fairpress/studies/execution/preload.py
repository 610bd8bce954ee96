"""Modules imported once by the fork server, as far as they are installed."""

from __future__ import annotations

import contextlib

import fairpress.studies.execution.executor
from fairpress.models.exporter_warnings import suppress_exporter_warnings

with contextlib.suppress(ImportError), suppress_exporter_warnings():
    import onnxruntime  # noqa: F401

    import fairpress.compression.quantization.batch_quantizer  # noqa: F401  torch, torchao and their exporters
