"""Give a module the shapes after pruning of channels and heads, so that a pruned state can be loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from fairpress.core.errors import UserError
from fairpress.models.attention import count_heads


def apply_pruned_shapes(module: nn.Module, shapes: Mapping[str, Sequence[int]]) -> None:
    """Replace the tensors named in `shapes` by tensors of these shapes, and update the sizes of their layers, in place.

    Raises
    ------
    UserError
        The module has no tensor of a name.
    """
    for name, shape in shapes.items():
        owner, _, last = name.rpartition(".")
        try:
            layer = module.get_submodule(owner)
            old = layer.get_parameter(last) if last in layer._parameters else layer.get_buffer(last)
        except AttributeError:
            raise UserError(
                f"the card names a pruned tensor {name!r} that the network does not have; create the model again."
            ) from None
        new = torch.zeros(tuple(shape), dtype=old.dtype)
        setattr(layer, last, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)
        if last == "weight":
            _resize(layer, new.shape)
    if shapes:
        count_heads(module)


def _resize(layer: nn.Module, shape: Sequence[int]) -> None:
    if isinstance(layer, nn.modules.conv._ConvNd):
        first, second = shape[:2]
        if layer.groups > 1 and layer.groups == layer.in_channels:  # depthwise
            layer.groups = first if layer.transposed else first * layer.in_channels // layer.out_channels
        if layer.transposed:
            layer.in_channels, layer.out_channels = first, second * layer.groups
        else:
            layer.out_channels, layer.in_channels = first, second * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = shape
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        layer.num_features = shape[0]
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = tuple(shape)
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels = shape[0]
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = shape[0]
