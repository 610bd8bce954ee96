"""A user's own network as one that maps a tensor to a logit per class: its inputs unpacked, its output chosen."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairpress.compression.batch_inputs import (
    MASK,
    TOKENS,
    TYPES,
    InputForm,
    NamedInput,
    PackedInputs,
    TokenInputs,
)
from fairpress.core.errors import UserError, listed
from fairpress.models.with_forward import with_forward


def reads_one_tensor(module: nn.Module, form: InputForm) -> nn.Module:
    """Return a network that reads the tensor of `data_loader.collect` in place of several inputs, in place.

    Raises UserError where the inputs of the batches are not those of the network's forward.
    """
    kind = type(module)
    if isinstance(form, TokenInputs):
        names = [TOKENS, *([MASK] if form.masked else []), *([TYPES] if form.typed else [])]
        _check_names(module, names)
        pad_id, masked, typed = form.pad_id, form.masked, form.typed

        def read_tokens(self: nn.Module, ids: Tensor) -> Any:
            given = {TOKENS: ids}
            if masked:
                given[MASK] = torch.ones_like(ids) if pad_id is None else (ids != pad_id).long()
            if typed:
                given[TYPES] = torch.zeros_like(ids)
            return kind.forward(self, **given)

        return with_forward(module, read_tokens)
    if isinstance(form, PackedInputs):
        if form.parts[0].name is None:
            _check_count(module, len(form.parts))
        else:
            _check_names(module, [str(part.name) for part in form.parts])

        def read_parts(self: nn.Module, x: Tensor) -> Any:
            positional, named = form.unpack(x)
            return kind.forward(self, *positional, **named)

        return with_forward(module, read_parts)
    if isinstance(form, NamedInput):
        _check_names(module, [form.name])
        name = form.name

        def read_named(self: nn.Module, x: Tensor) -> Any:
            return kind.forward(self, **{name: x})

        return with_forward(module, read_named)
    _refuse_more_inputs(module)
    return module


def _parameters(module: nn.Module) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return []


def _needed(parameters: list[inspect.Parameter]) -> list[str]:
    """Return the names of the parameters without a default."""
    return [
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def _check_names(module: nn.Module, names: list[str]) -> None:
    parameters = _parameters(module)
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [] if open_ended or not parameters else [name for name in names if name not in known]
    missing = [name for name in _needed(parameters) if name not in names]
    if unknown or missing:
        problem = f"does not take {listed(unknown)}" if unknown else f"also needs {listed(missing)}"
        raise UserError(
            f"the batches name the inputs {listed(names)}, and the network's forward {problem}; it takes "
            f"{listed(known)}: name the inputs of each batch as forward does."
        )


def _check_count(module: nn.Module, count: int) -> None:
    parameters = _parameters(module)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    fewest = len(_needed(parameters))
    if parameters and not (fewest <= count and (open_ended or count <= len(positional))):
        raise UserError(
            f"the batches have {count} inputs, and the network's forward takes "
            f"{listed([p.name for p in positional])}; give each batch these inputs, in this order."
        )


def _refuse_more_inputs(module: nn.Module) -> None:
    """Raise UserError if a network's forward cannot be called with one tensor."""
    needed = _needed(_parameters(module))
    if len(needed) > 1:
        raise UserError(
            f"the network's forward takes {len(needed)} inputs ({', '.join(needed)}), and the batches have one: give "
            f"batches (({', '.join(needed)}), y), or dictionaries of these names and 'labels'."
        )


def chosen_output(
    module: nn.Module,
    out: Any,
    preferred: Sequence[str] = ("logits",),
    expected: str = "a logit per class, [2, classes]",
) -> tuple[nn.Module, str | None]:
    """Return a network that returns one of several outputs, and a note that names them; changed in place.

    Parameters
    ----------
    out
        The network's output for two rows.
    preferred
        Names of the output that is wanted; without them it must be the only one of its shape.
    expected
        What it is, for messages.

    Returns
    -------
    A network that returns a tensor already is returned with None.

    Raises
    ------
    UserError
        No output, or more than one, can be the logits; the message shows the outputs.
    """
    if isinstance(out, Tensor):
        return module, None
    outputs, access = _outputs(out)
    fitting = [
        key
        for key, value in outputs.items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and (value.dim() == 2 or (value.dim() == 1 and isinstance(key, str)))
        and value.shape[0] == 2
    ]
    named = [name for name in preferred if name in fitting]
    key = named[0] if named else fitting[0] if len(fitting) == 1 else None
    if key is None:
        raise UserError(_wrong_output(out, outputs, access, fitting, expected))
    kind = type(module)

    def forward(self: nn.Module, x: Tensor) -> Any:
        return _outputs(kind.forward(self, x))[0][key]

    names = listed([str(k) for k in outputs])
    note = f"of the network's outputs {names}, the file returns {key}" if len(outputs) > 1 else None
    return with_forward(module, forward), note


def _outputs(out: Any) -> tuple[dict[Any, Any], str]:
    """Return a network's outputs by name or position, and how code reaches one."""
    if isinstance(out, Mapping):
        access = "net(x).{}" if is_dataclass(out) else "net(x)[{!r}]"
        return dict(out.items()), access
    if is_dataclass(out) and not isinstance(out, type):
        return {f.name: getattr(out, f.name) for f in fields(out)}, "net(x).{}"
    if isinstance(out, tuple | list):
        return dict(enumerate(out)), "net(x)[{}]"
    return {}, ""


def _wrong_output(
    out: Any, outputs: Mapping[Any, Any], access: str, fitting: list[Any], expected: str
) -> str:
    """Return the message for a network whose output is not a tensor, with its parts and how to choose one."""
    if not outputs:
        return (
            f"the network returns {type(out).__name__} for 2 rows; it must return a tensor with {expected}. Wrap it in "
            "a module that does."
        )
    shown = ", ".join(
        f"{name} {tuple(v.shape)}" if isinstance(v, Tensor) else f"{name} {type(v).__name__}"
        for name, v in list(outputs.items())[:6]
    )
    choice = access.format((fitting or list(outputs))[0])
    return (
        f"the network returns {type(out).__name__} for 2 rows ({shown}), but one output is needed, "
        f"{expected.partition(',')[0]}: pass a module whose forward returns it, such as {choice}."
    )


def reads_truth_values(module: nn.Module) -> nn.Module:
    """Return the network reading numbers in place of truth values, in place: all but 0 are true."""
    kind = type(module)

    def forward(self: nn.Module, x: Tensor) -> Any:
        return kind.forward(self, x != 0)

    return with_forward(module, forward)


def as_column(module: nn.Module) -> nn.Module:
    """Return the network with its only output as a column [rows, 1], in place."""
    kind = type(module)

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        output: Tensor = kind.forward(self, x)
        return output.reshape(-1, 1)

    return with_forward(module, forward)


def two_logits(module: nn.Module) -> nn.Module:
    """Return the network with a first logit of 0 added to its only one, in place."""
    kind = type(module)

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        logit = kind.forward(self, x).reshape(-1, 1)
        return torch.cat([torch.zeros_like(logit), logit], 1)

    return with_forward(module, forward)
