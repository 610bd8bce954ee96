"""Switch off the telemetry of libraries before they are imported: nothing leaves this machine unrequested.

ONNX Runtime's wheels report usage from any process that runs for some seconds, and only their environment variable, set
before
the import, stops it; MLflow, Ray, Hugging Face's hub and others have switches of the same kind. OpenVINO has none: its
telemetry package is kept from being imported (`runtime.openvino`).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def silence(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set every switch that the user has not set; processes that are started later inherit them."""
    for name, value in SWITCHES.items():
        environment.setdefault(name, value)
