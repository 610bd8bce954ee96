"""Check that a file or graph gives the outputs of the network it was made from, up to float rounding."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from fairpress.core.errors import UserError
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.random_operators import depends_on_batch, is_random
from fairpress.models.tracing import has_token_ids
from fairpress.runtime.backends.onnxruntime import session

ROWS, NUMBERS, MIN_ROWS = 512, 2**19, 4  # rows of a check; fewer for large inputs
CHUNK = 2**20  # input values per call of a network
SMALL_BATCHES = (1, 7)  # batch sizes, in addition to all rows at once
SINGLE_ROWS, FEW_ROWS = 8, 2  # large rows that a module is given in another batch size; fewer of the largest
SHORTER_LENGTHS = (2, 17)  # lengths of token ids, in addition to the whole length
SHORTER_ROWS = 8
NUMBERS_PER_TOKEN = 1024  # a small network computes as many values from a token
FACTORS = 2**20 + 7  # random numbers of a perturbed run; no size of a tensor is a multiple
EPSILON = float(np.finfo(np.float32).eps)
DRAWS = 2
# Another order of the same sums changes them by a few rounding errors, not by hundreds.
ROUNDINGS = 16
# A deviation above this share of the outputs' spread is not a rounding error, however badly conditioned the network is.
MAX_DEVIATION = 0.01


class EquivalenceError(UserError):
    """A file or graph does not compute the outputs of the network it was made from, and is not used."""


@dataclass(frozen=True)
class Reference:
    """Rows, a module's outputs [rows, classes] for them, and the tolerance for rounding errors of each row [rows].

    `shorter` has the same for rows of token ids cut to `SHORTER_LENGTHS`, where the module reads these.
    """

    rows: Tensor
    outputs: np.ndarray
    tolerance: np.ndarray
    shorter: tuple[Reference, ...] = ()

    def part(self, rows: slice) -> Reference:
        """Return the reference for some of the rows."""
        return Reference(self.rows[rows], self.outputs[rows], self.tolerance[rows])


def check_rows(rows: Tensor) -> Tensor:
    """Return the first rows of inputs [rows, …] that are used in a check."""
    return rows[: min(ROWS, max(MIN_ROWS, NUMBERS // _values_per_row(rows)))]


def _values_per_row(rows: Tensor) -> int:
    return max(1, rows.shape[1:].numel() * (NUMBERS_PER_TOKEN if has_token_ids(rows) else 1))


def reference(module: nn.Module, state: Mapping[str, Tensor], rows: Tensor) -> Reference:
    """Run a module in evaluation mode, and measure the effect of float rounding on its outputs.

    Rounding errors are measured on the module itself, by Monte Carlo arithmetic (Parker 1997): its inputs, its weights and
    the outputs of every operator are perturbed by up to one unit in the last place. A row may differ by `ROUNDINGS` times
    the largest change of its outputs (or of those of the median row, if larger), at least by as many units in the last place
    of the largest output, and at most by `MAX_DEVIATION` of the spread of the outputs. Each of the `DRAWS` perturbs all
    rows, or its share of large ones.

    Raises
    ------
    UserError
        The module is not deterministic, changes its own state, or returns NaN.
    """
    return next(references(module, [state], [rows]))


def references(
    module: nn.Module, states: Sequence[Mapping[str, Tensor]], inputs: Sequence[Tensor]
) -> Iterator[Reference]:
    """Yield the `reference` of each state of a module for its inputs [rows, …]; the module is copied once.

    Whether a module is deterministic does not depend on the state: that is checked with the first.
    """
    copied = copy.deepcopy(module).cpu().eval()
    network = FastFunctionalCall(copied)
    defaults = {k: v.detach() for k, v in (*copied.named_parameters(), *copied.named_buffers())}
    for i, (state, every_row) in enumerate(zip(states, inputs, strict=True)):
        rows = check_rows(every_row)
        values = defaults | {k: v.detach().cpu().clone() for k, v in state.items() if k in defaults}
        yield _with_shorter(network, values, rows, first=i == 0)


def _with_shorter(
    network: FastFunctionalCall, values: Mapping[str, Tensor], rows: Tensor, first: bool
) -> Reference:
    """Return the reference for rows, and of token ids those for shorter rows."""
    whole = _reference(network, values, rows, first)
    if not has_token_ids(rows):
        return whole
    lengths = [n for n in SHORTER_LENGTHS if n < rows.shape[1]]
    shorter = [rows[:SHORTER_ROWS, :n] for n in lengths]
    readable = [part for part in shorter if _reads(network, values, part)]
    return replace(whole, shorter=tuple(_reference(network, values, part, first) for part in readable))


def _reads(network: FastFunctionalCall, values: Mapping[str, Tensor], rows: Tensor) -> bool:
    """Return whether a module reads rows of this length: codes of a fixed number of columns are no text."""
    try:
        _outputs(network, values, rows)
    except UserError:
        return False
    return True


def _reference(
    network: FastFunctionalCall, values: Mapping[str, Tensor], rows: Tensor, first: bool
) -> Reference:
    expected, changed = _outputs_and_changes(network, values, rows)
    if np.isnan(expected).any():
        count = int(np.isnan(expected).any(1).sum())
        raise UserError(
            f"the network returns NaN for {count} of {len(expected)} rows; find the layer that overflows, or remove the "
            "rows that it cannot read."
        )
    if changed:
        _check_stateless(network, values, rows, changed)
    spread = np.zeros(len(rows))
    for draw in range(DRAWS):
        perturbation = _Perturbation(draw)
        part = slice(draw, None, DRAWS) if _is_large(rows) and len(rows) >= MIN_ROWS else slice(None)
        perturbed_values, perturbed_rows = (
            {k: perturbation.perturb(v) for k, v in values.items()},
            perturbation.perturb_inputs(rows[part]),
        )
        with perturbation:
            perturbed = _outputs(network, perturbed_values, perturbed_rows)
        spread[part] = np.maximum(spread[part], _differences(perturbed, expected[part]))
    finite = expected[np.isfinite(expected)]
    min_tolerance = ROUNDINGS * EPSILON * float(np.abs(finite).max(initial=0.0))
    max_tolerance = MAX_DEVIATION * float(
        np.nanmax(np.std(np.where(np.isfinite(expected), expected, np.nan), axis=0), initial=0.0)
    )
    tolerance = np.clip(
        ROUNDINGS * np.maximum(spread, np.median(spread)), min_tolerance, max(min_tolerance, max_tolerance)
    )
    result = Reference(rows, expected, np.maximum(tolerance, np.finfo(np.float32).tiny))
    if first:
        _check_deterministic(network, values, result)
    return result


def _check_stateless(
    network: FastFunctionalCall, values: Mapping[str, Tensor], rows: Tensor, changed: Collection[str]
) -> None:
    """Raise UserError if a module in evaluation mode changes one of its tensors a second time."""
    # Once, a convolution's weights differed after a call that cannot write to them: a second call has to confirm it.
    again = _outputs_and_changes(network, values, rows[: _batch_rows(rows)])[1]
    if confirmed := [name for name in changed if name in again]:
        raise UserError(
            f"the network changes its tensor {confirmed[0]!r} in every call, even in evaluation mode, which no file can "
            "reproduce; let it do so in training only (if self.training: …)."
        )


def _outputs_and_changes(
    network: FastFunctionalCall, values: Mapping[str, Tensor], rows: Tensor
) -> tuple[np.ndarray, list[str]]:
    """Return a module's outputs [rows, classes], and the names of its tensors that a call writes into or replaces."""
    copies, replaced = {k: v.clone() for k, v in values.items()}, set[str]()

    def note_replaced(*_: Any) -> None:
        replaced.update(k for k in network.names if k in copies and network.current(k) is not copies[k])

    with network.module.register_forward_hook(note_replaced):
        outputs = _outputs(network, copies, rows)
    return outputs, [k for k, v in values.items() if k in replaced or not torch.equal(v, copies[k])]


def _check_deterministic(
    network: FastFunctionalCall, values: Mapping[str, Tensor], expected: Reference
) -> None:
    """Raise UserError if a module's outputs for the same rows differ in batches of another size, or in a second call."""
    rows = expected.rows
    for size, count in _other_batches(rows):
        part = expected.part(slice(count))
        if _exceeds(_outputs(network, values, part.rows, size, seed=1), part).any():
            # Repeat the batches of the first call, for networks whose outputs depend on the rows of a batch.
            same = expected.part(slice(_batch_rows(rows)))
            if _exceeds(_outputs(network, values, same.rows, seed=1), same).any():
                raise UserError(is_random(network.module, rows[:2]))
            raise UserError(depends_on_batch(network.module, size))


def check_file_equivalence(data: bytes, expected: Reference) -> None:
    """Raise EquivalenceError unless a file gives the outputs of its network, in batches of several sizes.

    Raises UserError if ONNX Runtime has no kernel for an operator and its data type.
    """
    opened = load_for_check(data)
    name = opened.get_inputs()[0].name
    check_equivalence(lambda rows: opened.run(None, {name: rows.numpy()})[0], expected, "the file")


def load_for_check(data: bytes, dump: str | None = None) -> Any:
    """Return an ONNX Runtime session of a network's file; its optimised graph is written to `dump`."""
    try:
        return session(data, dump=dump)
    except UserError as error:
        match = re.search(r"Could not find an implementation for (\w+)", str(error))
        if match is None:
            raise
        raise UserError(
            f"ONNX Runtime has no kernel for an operator of the network ({match[1]}) in its data type; let the forward "
            "compute in float32 throughout, without autocast, .half() or .bfloat16()."
        ) from error


def check_equivalence(compute: Callable[[Tensor], np.ndarray], expected: Reference, name: str) -> None:
    """Raise EquivalenceError unless `compute` gives a network's outputs [rows, classes], in batches of several sizes.

    Token ids are compared in several lengths too.
    """
    for part in expected.shorter:
        check_equivalence(compute, part, f"{name}, with token ids cut to {part.rows.shape[1]},")
    for size, which in _batches(expected.rows):
        part = expected.part(which)
        rows = part.rows
        try:
            computed = np.concatenate([compute(batch) for batch in rows.split(size)])
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EquivalenceError(
                f"{name} cannot read {min(size, len(rows))} rows at a time: {reason}"
            ) from error
        if computed.shape != part.outputs.shape:
            raise EquivalenceError(
                f"{name} returns {computed.shape}, the network {part.outputs.shape}; it is not shipped."
            )
        beyond = _exceeds(computed, part)
        if beyond.any():
            differences = _differences(computed, part.outputs)
            worst = int(np.argmax(differences / part.tolerance))
            raise EquivalenceError(
                f"{name} does not reproduce the network: the outputs of {int(beyond.sum())} of {len(rows)} rows differ "
                "by more "
                f"than float rounding (by {differences[worst]:.2g}; the tolerance is {part.tolerance[worst]:.2g}), in "
                f"batches of {min(size, len(rows))}; it is not shipped."
            )


def _batch_rows(rows: Tensor) -> int:
    """Return the number of rows per call of a network."""
    return max(1, CHUNK // _values_per_row(rows))


def _is_large(rows: Tensor) -> bool:
    """Return whether rows are so large that a check has fewer than `ROWS` of them."""
    return _values_per_row(rows) > NUMBERS // ROWS


def _other_batches(rows: Tensor) -> list[tuple[int, int]]:
    """Return the batch sizes in which a module is run once more, and the number of rows: fewer where they are large.

    All rows run in chunks of `_batch_rows` before.
    """
    if not _is_large(rows):
        return [(size, 8 * size) for size in SMALL_BATCHES]
    few = _batch_rows(rows) <= max(SMALL_BATCHES)
    return [(_another_size(rows), FEW_ROWS if few else SINGLE_ROWS)]


def _batches(rows: Tensor) -> list[tuple[int, slice]]:
    """Return the batch sizes in which a file or graph is run, and the rows.

    All rows run at once, and some of them in small batches. Large rows run once, the last of them in a batch of another
    size: a batch size is a number in the graph, of which two values differ where one is fixed.
    """
    count = len(rows)
    if not _is_large(rows):
        return [(_batch_rows(rows), slice(count)), *((size, slice(8 * size)) for size in SMALL_BATCHES)]
    size, last = min(max(SMALL_BATCHES), _batch_rows(rows)), _another_size(rows)
    if count <= FEW_ROWS:
        return [(size, slice(count)), (last, slice(count))]
    return [(size, slice(count - last)), (last, slice(count - last, count))]


def _another_size(rows: Tensor) -> int:
    """Return the smallest batch size that is not that of `_batch_rows`."""
    return 1 if _batch_rows(rows) > 1 else 2


def _outputs(
    network: FastFunctionalCall,
    values: Mapping[str, Tensor],
    rows: Tensor,
    size: int | None = None,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Return the outputs of a module [rows, classes]; `seed` seeds torch's generator."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which seeds other devices too and takes as long as a small network.
        torch.default_generator.manual_seed(seed)
        try:
            out = torch.cat([network.call(values, part) for part in rows.split(size or _batch_rows(rows))])
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            count = min(size or _batch_rows(rows), len(rows))
            raise UserError(
                f"the network cannot read {count} row{'s' if count > 1 else ''} at a time: {reason}. A file must run on any "
                "number of rows; make a row's outputs depend on that row alone."
            ) from error
    return np.asarray(out.float().numpy(), np.float64)


@lru_cache(maxsize=DRAWS)
def _factors(seed: int) -> tuple[Tensor, Tensor]:
    """Return factors from 1 − ε to 1 + ε in float32, and the state of the generator after them; drawn once in a process.

    A tensor takes a run of them at random: drawing more would take longer than the network.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(FACTORS, generator=generator)
    return noise.mul_(2 * EPSILON).add_(1 - EPSILON), generator.get_state()


class _Perturbation(TorchDispatchMode):
    """Perturb the output of every operator by up to one unit in the last place, at random."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.factors, state = _factors(seed)
        self.generator = torch.Generator()
        self.generator.set_state(state)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        aliases = [r.alias_info for r in func._schema.returns]
        if any(
            a is not None for a in aliases
        ):  # a view, or written in place: other references to the tensor would change
            return out
        # Most operators return one tensor; looking through a structure takes as long as perturbing it.
        return self.perturb(out) if isinstance(out, Tensor) else tree_map_only(Tensor, self.perturb, out)

    def perturb(self, value: Tensor) -> Tensor:
        if value.dtype != torch.float32:
            return value
        start = int(torch.randint(FACTORS, (), generator=self.generator))
        flat = value.reshape(-1)
        count = (len(flat) + start - 1) // FACTORS + 1
        parts = [self.factors[start:], *[self.factors] * (count - 1)]
        factor = torch.cat(parts)[: len(flat)] if count > 1 else self.factors[start : start + len(flat)]
        return (flat * factor).view(value.shape)

    def perturb_inputs(self, rows: Tensor) -> Tensor:
        """Return perturbed rows; integral values, which may be codes, stay unchanged."""
        return (
            torch.where(rows == rows.round(), rows, self.perturb(rows)) if rows.is_floating_point() else rows
        )


def _differences(outputs: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the largest difference of each row [rows]; equal infinities do not differ."""
    with np.errstate(invalid="ignore"):
        differences = np.where(outputs == expected, 0.0, np.abs(outputs - expected))
    return np.where(np.isnan(differences), np.inf, differences).max(1)


def _exceeds(outputs: np.ndarray, expected: Reference) -> np.ndarray:
    """Return whether each row differs by more than its tolerance [rows]."""
    return _differences(outputs, expected.outputs) > expected.tolerance
