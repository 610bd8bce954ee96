"""Export networks of one architecture to ONNX: exported once, then filled with each network's weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from fairpress.core.errors import UserError
from fairpress.models.attention_products import translate_attention
from fairpress.models.equivalence import check_file_equivalence, references
from fairpress.models.exporter_registry import translations_read_once
from fairpress.models.exporter_warnings import suppress_exporter_warnings
from fairpress.models.garbage import without_garbage_collection
from fairpress.models.lowered_program import lowered_program
from fairpress.models.rewriting_by_operator import rules_by_operator
from fairpress.models.stable_operators import replace_unstable_operators
from fairpress.models.tracing import (
    BatchNormFold,
    cannot_export,
    dynamic_shape,
    find_batch_norm_folds,
    fold_graph,
    fold_state,
    has_token_ids,
    node_at_fault,
    trace,
)
from fairpress.models.translated_operators import translations_of
from fairpress.runtime.onnx.weight_packing import finalize
from fairpress.tokenization.model_inputs import TOKEN_INPUT

INPUT, OUTPUT = "x", "y"
BATCH, LENGTH = "batch", "length"  # names of the first dimension, and of the second of token ids
BEGINNING = 64  # values by which two tensors are told apart
_templates: dict[Hashable, ExportTemplate] = {}


@dataclass(frozen=True)
class ExportTemplate:
    """An exported float network with folded batch norms; each weight is a constant under its name in the state."""

    model: onnx.ModelProto
    pairs: tuple[BatchNormFold, ...]

    def fill(self, state: Mapping[str, Tensor]) -> bytes:
        """Return the file of the network with this state."""
        values = fold_state(state, self.pairs)
        return finalize(fill(self.model, {k: v.detach().cpu().numpy() for k, v in values.items()}))


def export_many(
    module: nn.Module,
    states: Sequence[Mapping[str, Tensor]],
    example: Tensor,
    key: Hashable = None,
    rows: Sequence[Tensor] | None = None,
) -> list[bytes]:
    """Return one ONNX file (logits out) for each state of a network.

    Parameters
    ----------
    module
        The network; it is not changed.
    states
        A state dict for each file.
    example
        Inputs [rows, …] with two rows or more (one row would fix the batch size).
    key
        Key for caching the template in this process; None to not cache it.
    rows
        Inputs [rows, …] for each state, on which the file must give the outputs of the module. A file that does not, or
        that cannot be loaded, is exported again, traced once more and without simplification, and refused if it still
        differs.

    Raises
    ------
    UserError
        The network cannot be exported (the message names the layer), or its outputs are not a function of its inputs.
    EquivalenceError
        A file does not give the outputs of the module.
    """
    cache_key = (key, tuple(example.shape[1:]), example.dtype)
    if key is not None and cache_key in _templates:
        template = _templates[cache_key]
    else:
        template = _template(module, states[0], example)
        if key is not None:
            _templates[cache_key] = template
    files = [template.fill(state) for state in states]
    if rows is None:
        return files
    unsimplified: ExportTemplate | None = None
    for i, (state, expected) in enumerate(zip(states, references(module, states, rows), strict=True)):
        try:
            check_file_equivalence(files[i], expected)
        except UserError:
            unsimplified = unsimplified or _template(module, state, example, simplify=False)
            files[i] = unsimplified.fill(state)
            check_file_equivalence(files[i], expected)
    return files


def _template(
    module: nn.Module, state: Mapping[str, Tensor], example: Tensor, *, simplify: bool = True
) -> ExportTemplate:
    graph = trace(module, example)
    pairs, folded = find_batch_norm_folds(graph), fold_graph(graph)
    return ExportTemplate(
        export_with_names(folded, fold_state(state, pairs), example, simplify=simplify), pairs
    )


def export_with_names(
    graph: GraphModule, state: Mapping[str, Tensor], example: Tensor, *, simplify: bool = True
) -> onnx.ModelProto:
    """Export a graph with each tensor of `state` that it reads stored unchanged, under its name.

    Values that depend on these tensors are not folded into constants, so that `fill` can replace the tensors.
    """
    return export_graph(load_state(graph, state), example, free=frozenset(state), simplify=simplify)


def export_graph(
    module: nn.Module, example: Tensor, *, free: Collection[str] = (), simplify: bool = True
) -> onnx.ModelProto:
    """Return the exporter's graph of an evaluation-mode module, input ``x``, output ``y``, any batch size.

    The input of token ids is ``input_ids``, of any batch size and length.

    Parameters
    ----------
    free
        Names of tensors whose values will be replaced: the exporter must neither fold them into constants nor merge equal
        ones. They are inputs while it simplifies the graph.
    simplify
        Whether constants are folded, and a traced graph is translated as it is where it can be.

    Raises
    ------
    UserError
        ONNX does not support an operator; the message names the layer.
    """
    with suppress_exporter_warnings(), without_garbage_collection(), translations_read_once():
        try:
            program = _translated(module, example, as_it_is=simplify)
            if simplify:
                with _as_inputs(program.model, free), rules_by_operator():
                    program.optimize()
        except Exception as error:
            root: BaseException = error
            while root.__cause__ is not None:
                root = root.__cause__
            raise UserError(cannot_export(*node_at_fault(error), root)) from error
    model = program.model_proto
    _name_dimensions(model)
    return model


def _translated(module: nn.Module, example: Tensor, *, as_it_is: bool) -> torch.onnx.ONNXProgram:
    """Return the exporter's translation of a module: of a traced graph `as_it_is`, if it can be, else traced once more."""

    def translate(module: nn.Module | ExportedProgram, **options: Any) -> torch.onnx.ONNXProgram:
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[input_name(example)],
            output_names=[OUTPUT],
            verbose=False,
            optimize=False,
            custom_translation_table={**replace_unstable_operators(), **translate_attention()},
            **options,
        )
        assert program is not None
        return program

    if as_it_is and isinstance(module, GraphModule):
        with suppress(
            Exception
        ):  # an operator that has to be decomposed: the exporter's message would not say so
            if (lowered := lowered_program(module)) is not None:
                with translations_of(lowered.graph):
                    return translate(lowered)
    shapes = (dynamic_shape(example),)
    try:
        return translate(module, dynamic_shapes=shapes)
    except Exception:
        # The exporter of torch 2.9 refuses graphs that torch.export reads.
        with suppress(Exception):
            return translate(torch.export.export(module, (example,), dynamic_shapes=shapes))
        raise


def input_name(example: Tensor) -> str:
    """Return the name of a file's input: ``input_ids`` for token ids, else ``x``."""
    return TOKEN_INPUT if has_token_ids(example) else INPUT


def _name_dimensions(model: onnx.ModelProto) -> None:
    """Name the dimensions of the input that vary, in place; the exporter calls them by symbols such as ``s27``."""
    symbols = [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim[:2]]
    names = {symbol: name for symbol, name in zip(symbols, (BATCH, LENGTH), strict=False) if symbol}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), dim.dim_param)


@contextmanager
def _as_inputs(model: ir.Model, names: Collection[str]) -> Iterator[None]:
    """Turn stored tensors of a model into inputs of unknown value within the context."""
    graph = model.graph
    hidden = {}
    for name in [n for n in graph.initializers if n in names]:
        value = graph.initializers.pop(name)
        hidden[name] = (value, value.const_value)
        value.const_value = None
        graph.inputs.append(value)
    yield
    for name, (value, tensor) in hidden.items():
        graph.inputs.remove(value)
        value.name, value.const_value = name, tensor
        graph.initializers[name] = value


def load_state(graph: GraphModule, state: Mapping[str, Tensor]) -> GraphModule:
    """Load a state into a graph and return the graph, ready to be exported.

    Tensors that are not in the state stay: they are non-persistent buffers, equal for all networks.
    """
    with torch.no_grad():
        for name, target in (*graph.named_parameters(), *graph.named_buffers()):
            if name in state:
                target.copy_(state[name])
    return ignore_mode_changes(graph)


def ignore_mode_changes(graph: GraphModule) -> GraphModule:
    """Return the graph with eval() and train() that do nothing; those of an exported graph raise an error."""
    graph.eval = graph.train = lambda *_: graph
    graph.training = False
    return graph


def without_equal_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state in which no two tensors are equal: small noise is added where one begins as another does.

    Of numbers, only scales get noise.
    """
    generator = torch.Generator().manual_seed(0)
    seen: set[tuple[torch.Size, bytes]] = set()

    def different(name: str, value: Tensor) -> Tensor:
        if not value.is_floating_point() or (value.dim() == 0 and not name.endswith(".scale")):
            return value
        begins = (value.shape, value.reshape(-1)[:BEGINNING].contiguous().numpy().tobytes())
        if begins not in seen:
            seen.add(begins)
            return value
        noise = torch.rand(value.shape, generator=generator)
        return value * (1 + 1e-3 * noise) + 1e-6 * noise

    return {name: different(name, value.detach().cpu()) for name, value in state.items()}


def fill(template: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Return a copy of a model with the constants named in `values` replaced."""
    model = onnx.ModelProto()
    model.CopyFrom(template)
    for tensor in model.graph.initializer:
        value = values.get(tensor.name)
        if value is not None:
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            array = np.ascontiguousarray(value.astype(kind)).reshape(tuple(tensor.dims))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


def has_value(tensor: onnx.TensorProto | None, value: np.ndarray) -> bool:
    """Return whether a constant exists and has this value, in any shape."""
    return tensor is not None and np.array_equal(numpy_helper.to_array(tensor).ravel(), np.ravel(value))
