"""How transformers is called: without the hub, without remote code, and without its messages."""

from __future__ import annotations

import logging as python_logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from fairpress.core.errors import MissingExtra
from fairpress.models.exporter_warnings import suppress_exporter_warnings


def require_transformers(subject: str) -> None:
    """Raise MissingExtra unless the package transformers is installed."""
    if find_spec("transformers") is None:
        raise MissingExtra(subject, "text")


@contextmanager
def local_and_quiet() -> Iterator[None]:
    """Keep transformers off the network, and its log and progress bars off the terminal, within the context."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with suppress_exporter_warnings():  # transformers imports torchao
        import transformers.modeling_utils  # noqa: F401
    from huggingface_hub import constants
    from transformers.utils import logging

    torch_logger = python_logging.getLogger(
        "torch.utils._pytree"
    )  # complains while transformers imports torchao
    torch_level = torch_logger.level
    torch_logger.setLevel(python_logging.ERROR)
    verbosity, bars, offline = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        constants.HF_HUB_OFFLINE,
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch_logger.setLevel(torch_level)
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
