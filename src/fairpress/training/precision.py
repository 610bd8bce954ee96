"""Training formats (precision and memory order), and the choice of the fastest on this machine by timing, on request."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Minimum speed-up over a plainer format: less is noise, and the plainer one is more reproducible.
MIN_SPEEDUP = 1.10
STEPS = 3
# Rows of a first, short trial: where a processor has no instructions for bf16, a whole batch takes a minute.
TRIAL_ROWS, MAX_SLOWDOWN = 4, 2.0


@dataclass(frozen=True)
class TrainingFormat:
    """Precision of the arithmetic (weights stay fp32) and order of an image's numbers in memory."""

    name: str
    bf16: bool = False
    channels_last: bool = False

    def move_module(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return the module on the device, its weights in this way's order."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return module.to(device=device, memory_format=order)

    def inputs(self, x: Tensor, device: torch.device) -> Tensor:
        """Return inputs on the device, images [rows, channels, height, width] in this way's order."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return x.to(device=device, non_blocking=True).contiguous(memory_format=order)

    def arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context that forward passes run in."""
        return torch.autocast(device.type, torch.bfloat16) if self.bf16 else nullcontext()


# The plainest first.
FORMATS = {
    way.name: way
    for way in (
        TrainingFormat("fp32"),
        TrainingFormat("fp32-channels-last", channels_last=True),
        TrainingFormat("bf16", bf16=True),
        TrainingFormat("bf16-channels-last", bf16=True, channels_last=True),
    )
}


def fastest(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    device: torch.device,
    formats: Sequence[TrainingFormat] = tuple(FORMATS.values()),
) -> tuple[TrainingFormat, Mapping[str, float]]:
    """Return the fastest way to train on batches like x [rows, …], y [rows], and what was measured.

    Each way takes `STEPS` whole steps (forward, backward, update) on a copy of the module after one to warm up;
    the fastest of them counts, since other work on the machine only ever slows one down. A way that takes
    `MAX_SLOWDOWN` times as long as the best so far on a few rows is given up, and its speed is that of the few rows.
    Returned are rows a second by way; a way without kernels for some operator is absent.
    """
    speed: dict[str, float] = {}
    quickest = float("inf")
    for training_format in formats:
        try:
            seconds = _seconds(training_format, module, x[:TRIAL_ROWS], y[:TRIAL_ROWS], device, 1)
            speed[training_format.name] = len(x[:TRIAL_ROWS]) / seconds
            if seconds <= MAX_SLOWDOWN * quickest:
                quickest = min(quickest, seconds)
                speed[training_format.name] = len(x) / _seconds(training_format, module, x, y, device, STEPS)
        except RuntimeError:
            speed.pop(training_format.name, None)
    if formats[0].name not in speed:  # then nothing can be compared; the error itself comes with the training
        return formats[0], {}
    best = formats[0]
    for training_format in formats[1:]:
        if speed.get(training_format.name, 0.0) > MIN_SPEEDUP * speed[best.name]:
            best = training_format
    return best, speed


def _seconds(
    training_format: TrainingFormat, module: nn.Module, x: Tensor, y: Tensor, device: torch.device, steps: int
) -> float:
    """Return the seconds of the fastest of some steps on a copy of the module, after one to warm up."""
    module = training_format.move_module(copy.deepcopy(module), device).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-6)
    target = y.to(device)
    taken: list[float] = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        with training_format.arithmetic(device):
            loss = nn.functional.cross_entropy(module(training_format.inputs(x, device)).float(), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def format_by_processor(device: torch.device, *, images: bool = False) -> TrainingFormat:
    """Return bf16 where the device multiplies it by instructions of its own, else fp32, without timing anything.

    Of images the channels are last, in either.
    """
    if device.type == "cpu":
        has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return FORMATS[f"{'bf16' if has_bf16 else 'fp32'}{'-channels-last' if images else ''}"]
