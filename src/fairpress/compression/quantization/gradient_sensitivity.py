"""Estimate from gradients how quantizing a layer changes a network's predictions, without running the quantized network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fairpress.compression.quantized_graph.row_chunks import Rows, by_chunk, positions_of_chunks
from fairpress.core.output_kind import OutputKind
from fairpress.core.time_left import counted
from fairpress.models.export import load_state
from fairpress.models.exporter_warnings import copy_graph
from fairpress.models.tracing import CONVOLUTIONS, is_lookup, is_weighted, layer_name
from fairpress.training.output_divergence import output_variance


def layer_sensitivities(
    graph: GraphModule,
    state: Mapping[str, Tensor],
    changes: Mapping[str, Mapping[int, Tensor]],
    rows: Rows,
    outputs: OutputKind = "classes",
) -> dict[str, dict[int, Tensor]]:
    """Return layer → bit width → estimated divergence of every row [rows] (float64, nats), with the whole layer changed.

    As `channel_sensitivities`, with every layer's change for each of several bit widths.
    """
    widths = {width for by_width in changes.values() for width in by_width}
    sensitivities: dict[str, dict[int, Tensor]] = {layer: {} for layer in changes}
    for width in counted(sorted(widths, reverse=True), "estimating the sensitivity of layers, bit widths"):
        layer_changes = {layer: by_width[width] for layer, by_width in changes.items() if width in by_width}
        parts: dict[str, list[Tensor]] = {layer: [] for layer in layer_changes}
        for curvature, responses in _output_responses(graph, state, layer_changes, rows, outputs):
            for layer, by_channel in responses.items():
                parts[layer].append(curvature(by_channel.sum(2, keepdim=True))[:, 0])
        for layer, values in parts.items():
            sensitivities[layer][width] = _in_order(values, rows)
    return sensitivities


def channel_sensitivities(
    graph: GraphModule,
    state: Mapping[str, Tensor],
    changes: Mapping[str, Tensor],
    rows: Rows,
    outputs: OutputKind = "classes",
) -> dict[str, Tensor]:
    """Return layer → estimated divergence of every row, with each output channel changed alone [rows, channels] (nats).

    A change δ of weights moves the logits by J·δ. The Kullback-Leibler divergence of the new class probabilities from the
    old ones is, to second order, ½·Var_p(J·δ), the variance over the classes under their probabilities: ½·δᵀFδ with F a
    row's Fisher information, which needs no labels. A layer's J·δ is its response to δ in place of its weights, times the
    gradient of the logits with respect to its output: one forward pass, and one backward pass for each class. Of other
    `outputs` the same with the second derivative of their divergence (`output_divergence`): of several labels
    ½·Σ p(1 − p)·(J·δ)², of numbers and embeddings half of the mean (J·δ)² in units of the outputs' variance over rows.

    Parameters
    ----------
    graph
        The folded graph.
    state
        Its float state, on the device that computes.
    changes
        Layer → δ, in the shape of its weight.
    rows
        Inputs [rows, …] of the calibration part; never test rows.
    """
    sensitivities: dict[str, list[Tensor]] = {layer: [] for layer in changes}
    for curvature, responses in _output_responses(graph, state, changes, rows, outputs):
        for layer, by_channel in responses.items():
            sensitivities[layer].append(curvature(by_channel))
    return {layer: _in_order(values, rows) for layer, values in sensitivities.items()}


def _in_order(values: Sequence[Tensor], rows: Rows) -> Tensor:
    """Join the values of all chunks [rows of the chunk, …] in the order of the rows."""
    return torch.cat(list(values))[torch.argsort(torch.cat(positions_of_chunks(rows)))]


def _curvature(values: Tensor, outputs: OutputKind, variance: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function from moves [rows, width, …] of outputs [rows, width] to divergences [rows, …], to second order."""
    if outputs == "classes":
        probabilities = values.softmax(-1)
        return lambda moves: _half_variance(probabilities, moves)
    if outputs == "labels":
        present = values.sigmoid()
        return lambda moves: ((present * (1 - present))[..., None] * moves.double().square()).sum(1) / 2
    return lambda moves: moves.double().square().mean(1) / (2 * variance)


def _half_variance(probabilities: Tensor, responses: Tensor) -> Tensor:
    """Return ½·Var_p of moves [rows, classes, …] over the classes, p [rows, classes]."""
    weight, responses = probabilities[..., None], responses.double()
    centred = responses - (weight * responses).sum(1, keepdim=True)
    return (weight * centred.square()).sum(1) / 2


def _output_responses(
    graph: GraphModule,
    state: Mapping[str, Tensor],
    changes: Mapping[str, Tensor],
    rows: Rows,
    outputs: OutputKind,
) -> Iterator[tuple[Callable[[Tensor], Tensor], dict[str, Tensor]]]:
    """Yield, chunk by chunk, the `_curvature` and layer → J·δ [rows, width, channels]."""
    device = next(iter(state.values())).device
    network = load_state(copy_graph(graph).to(device), state)
    changes = {layer: change.to(device) for layer, change in changes.items()}
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    variance = torch.ones(())
    if outputs in ("number", "embedding"):
        with torch.no_grad():
            variance = output_variance(by_chunk(lambda part: network(part.to(device)).cpu(), rows))
    for positions in counted(positions_of_chunks(rows), "estimating sensitivities, batches"):
        chunk = rows[positions].to(device)
        tape = _Tape(network, changes)
        with torch.enable_grad():
            logits = tape.run(chunk)
            layer_outputs = [output for _, output, _ in tape.seen]
            responses: dict[str, list[Tensor]] = {layer: [] for layer in changes}
            for k in range(logits.shape[1]):
                gradients = torch.autograd.grad(logits[:, k].sum(), layer_outputs, retain_graph=True)
                by_layer: dict[str, Tensor] = {}
                for (node, _, response), gradient in zip(tape.seen, gradients, strict=True):
                    product = _by_channel(node, gradient * response)
                    name = layer_name(node)  # one that runs twice moves the logits twice
                    by_layer[name] = by_layer[name] + product if name in by_layer else product
                for layer, values in by_layer.items():
                    responses[layer].append(values)
        yield (
            _curvature(logits.detach().double().cpu(), outputs, variance),
            {layer: torch.stack(values, 1).cpu() for layer, values in responses.items()},
        )


def _by_channel(node: Node, product: Tensor) -> Tensor:
    """Sum over all axes but rows and output channels: the second axis of a convolution, the last of a product or lookup."""
    axis = 1 if node.target in CONVOLUTIONS else product.dim() - 1
    others = [a for a in range(1, product.dim()) if a != axis]
    return product.sum(others) if others else product


class _Tape(Interpreter):
    """Run a graph and record the output of each layer, and its response to δ in place of its weight."""

    def __init__(self, graph: GraphModule, changes: Mapping[str, Tensor]) -> None:
        super().__init__(graph)
        self.changes = changes
        self.seen: list[tuple[Node, Tensor, Tensor]] = []

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if not (is_weighted(n) or is_lookup(n)) or layer_name(n) not in self.changes:
            return result
        args, _ = self.fetch_args_kwargs_from_env(n)
        change = self.changes[layer_name(n)]
        with torch.no_grad():
            if is_lookup(n):
                response = n.target(change, args[1])
            else:
                bias: tuple[Any, ...] = (None,) if len(args) > 2 else ()
                response = n.target(args[0], change, *bias, *args[3:])
        result = result if result.requires_grad else result.requires_grad_()
        self.seen.append((n, result, response))
        return result.clone()  # what follows may write into it
