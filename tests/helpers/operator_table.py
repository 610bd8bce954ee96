"""One table of ONNX operators for all exports of a process: torch parses the sources of 500 functions again for each."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

MODULE = "torch.onnx._internal.exporter._registration"
TRANSLATIONS = "onnxscript.function_libs.torch_lib.registration"


def share_operator_table() -> None:
    """Let `ONNXRegistry.from_torchlib` build its table once, and give each export a copy that it may add to.

    Half of the time of a small network's export. The table leaves out operators that torch does not know yet, such as
    torchao's before its import, so it is built again once torch knows others. Does nothing before torch's exporter is
    imported, and nothing with a torch that has no such class. Tables for one graph (`models.translated_operators`) are not
    shared.
    """
    registry: Any = getattr(sys.modules.get(MODULE), "ONNXRegistry", None)
    build = getattr(registry, "from_torchlib", None)
    if build is None or hasattr(build, "table"):
        return

    @cache
    def table(known_operators: int, *arguments: Any, **options: Any) -> Any:
        return build(*arguments, **options)

    def from_torchlib(*arguments: Any, **options: Any) -> Any:
        import torch

        translations = getattr(sys.modules.get(TRANSLATIONS), "default_registry", None)
        if type(translations).__name__ not in ("NoneType", "Registry"):  # those of one graph alone
            return build(*arguments, **options)
        whole = table(len(torch._C._dispatch_get_all_op_names()), *arguments, **options)
        result = registry()
        result.__dict__.update(whole.__dict__)
        result.functions = {target: list(entries) for target, entries in whole.functions.items()}
        return result

    from_torchlib.table = table  # type: ignore[attr-defined]
    registry.from_torchlib = staticmethod(from_torchlib)
