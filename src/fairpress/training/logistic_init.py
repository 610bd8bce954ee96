"""A logistic regression of the training rows, and a network of ReLU layers that begins as exactly that."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fairpress.core.errors import UserError
from fairpress.models.feature_scaling import LIMIT
from fairpress.models.mlp import carriers

# More rows change the coefficients by less than training does afterwards.
MAX_ROWS = 100_000
ITERATIONS, TOLERANCE = 500, 1e-6


def logistic_regression(
    x: Tensor, y: Tensor, n_classes: int, weights: Tensor | None = None, penalty: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return coefficients [functions, columns] and intercepts [functions] that minimize the penalized cross-entropy.

    Σ rows' cross-entropy + penalty/2 · Σ (coefficient · standard deviation of its column)², which is scikit-learn's
    ``LogisticRegression(C=1/penalty)`` on standardized columns. Two classes have one function, the logit of the second; more
    have one each.

    Parameters
    ----------
    x, y
        Inputs [rows, columns] and labels [rows] int64.
    weights
        [rows]; by default every row counts alike.
    """
    x = x.double()
    row_weights = torch.ones(len(y), dtype=torch.double) if weights is None else weights.double()
    scale = x.std(dim=0, unbiased=False)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    mean = x.mean(dim=0)
    z = (x - mean) / scale
    functions = 1 if n_classes == 2 else n_classes
    parameters = torch.zeros(functions, x.shape[1] + 1, dtype=torch.double, requires_grad=True)
    sign = torch.tensor([[-0.5], [0.5]], dtype=torch.double)

    def loss() -> Tensor:
        values = z @ parameters[:, :-1].T + parameters[:, -1]
        logits = values @ sign.T if n_classes == 2 else values
        rows = nn.functional.cross_entropy(logits, y, reduction="none")
        return ((row_weights * rows).sum() + penalty / 2 * (parameters[:, :-1] ** 2).sum()) / len(y)

    optimizer = torch.optim.LBFGS(
        [parameters],
        max_iter=ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    solution = parameters.detach()
    coefficients = solution[:, :-1] / scale
    return coefficients.float(), (solution[:, -1] - (coefficients * mean).sum(1)).float()


def initialize_from_logistic(
    state: dict[str, Tensor], x: Tensor, y: Tensor, n_classes: int, weights: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the state of an `Mlp` changed so that the network is the logistic regression of its training rows.

    The first units of each hidden layer carry every linear function u as ReLU(u) and ReLU(−u), whose difference is u. The
    other units keep the weights that were drawn, and nothing of them reaches the output yet: training finds what they add.

    Parameters
    ----------
    state
        Of `Mlp.build`, with the standardization of these rows.
    x, y
        Raw inputs of the training rows [rows, columns] and labels [rows]. Of more than `MAX_ROWS` every n-th is used.

    Raises
    ------
    UserError
        A hidden layer is too narrow.
    """
    layers = [name.removesuffix(".weight") for name, value in state.items() if value.dim() == 2]
    used = carriers(n_classes)
    narrowest = min(len(state[f"{name}.bias"]) for name in layers[:-1])
    if narrowest < used:
        raise UserError(
            f"start=linear needs hidden layers of at least {used} units for {n_classes} classes, and one has {narrowest}; "
            "use wider layers or start=random."
        )
    sample = slice(None, None, -(-len(y) // MAX_ROWS))
    x, y, weights = x[sample], y[sample], None if weights is None else weights[sample]
    standardized = ((x - state["0.mean"]) / state["0.scale"]).clamp(-LIMIT, LIMIT)
    coefficients, intercepts = logistic_regression(standardized, y, n_classes, weights)
    initialized = {name: value.clone() for name, value in state.items()}
    first, *middle = layers[:-1]
    initialized[f"{first}.weight"][:used] = torch.cat([coefficients, -coefficients])
    initialized[f"{first}.bias"][:used] = torch.cat([intercepts, -intercepts])
    identity = torch.eye(used // 2)
    through = torch.cat([torch.cat([identity, -identity], 1), torch.cat([-identity, identity], 1)])
    for name in middle:
        weight = initialized[f"{name}.weight"]
        weight[:used] = 0.0
        weight[:used, :used] = through
        initialized[f"{name}.bias"][:used] = 0.0
    output = torch.zeros_like(initialized[f"{layers[-1]}.weight"])
    difference = torch.cat([identity, -identity], 1)
    output[:, :used] = torch.cat([-difference / 2, difference / 2]) if n_classes == 2 else difference
    initialized[f"{layers[-1]}.weight"] = output
    initialized[f"{layers[-1]}.bias"] = torch.zeros_like(initialized[f"{layers[-1]}.bias"])
    return initialized
