"""Does a loop that watches accuracy alone ship a model that harms a group, and does the plug-in prevent it?

python benchmarks/plugins.py compas --repetitions 20     # neural-compressor's autotune, networks on COMPAS
python benchmarks/plugins.py faces --model faces/         # NNCF's accuracy control, a resnet18 on UTKFace

The rows that train nothing are divided by person: one half for the loop, the other for the verdict. Each loop runs twice on
the same network and rows: by accuracy with a drop of at most 1 %, as the tools' documentation does, and by the guard's
score. Both results are judged on the other half. Needs ``neural-compressor`` or ``nncf`` beside fairpress.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

import fairpress as fp
from fairpress.auditing.verdicts.wording import points_up
from fairpress.datasets.hash_draws import draw
from fairpress.models import registry
from fairpress.models.weights_io import from_bytes

ACCURACY_DROP = 0.01
WATCHED = {"guard": ["error"], "guard, all errors": ["error", "fnr", "fpr"]}
ERRORS = {"accuracy": "error rate", "tpr": "FNR", "fpr": "FPR"}
HEADER = "loop | ships | verdict | harm is shown for | at most, points | passes |"
BITS = (2, 3, 4, 5, 6, 8)
SPARSITIES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
CALIBRATION = 300


@dataclass(frozen=True)
class Halves:
    """A baseline's predictions and inputs on the rows of the loop and on those of the verdict."""

    loop: pa.Table
    verdict: pa.Table
    loop_inputs: np.ndarray
    verdict_inputs: np.ndarray


def halves(dataset: fp.Dataset, base: fp.Artifact, seed: int) -> Halves:
    """Divide the test part by person."""
    table = fp.predict({"fp32": base}, dataset, part="test")
    inputs = dataset.part("test").inputs
    first = np.array([draw(f"{seed}/{s}") % 2 == 0 for s in table["subject"].to_pylist()])
    return Halves(
        table.filter(pa.array(first)), table.filter(pa.array(~first)), inputs[first], inputs[~first]
    )


def module_of(base: fp.Artifact, dataset: fp.Dataset) -> nn.Module:
    """Return the network of an artifact."""
    options = {k: v for k, v in base.card.architecture.items() if k != "name"}
    architecture = registry.get(str(base.card.architecture["name"]), **options)
    module = architecture.build(dataset.inputs.shape[1:], len(dataset.task.classes))
    module.load_state_dict(from_bytes(base.weights or b""))
    return module.eval()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tools' logs and warnings out of the tables."""
    logging.disable(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def accuracy_of(labels: tuple[str, ...], classes: tuple[str, ...]) -> Callable[[np.ndarray], float]:
    """Return the function from scores [rows, classes] to accuracy."""
    codes = np.array([classes.index(label) for label in labels])
    return lambda scores: float((scores.argmax(1) == codes).mean())


def report(name: str, chosen: str, verdict: Any) -> str:
    """Return the end of a line of the table: what was shipped, its verdict, where it harms, X and whether it passes."""
    comparison = verdict.report.comparisons[0]
    bound = comparison.bounds[0]
    group = (
        "" if bound.upper_group is None else " ".join(map(str, getattr(bound.upper_group, "values", dict)()))
    )
    harmed = [
        f"{' '.join(g.values.values())} ({ERRORS[x.metric]})"
        for a in comparison.attributes
        for g in a.groups
        for x in g.losses
        if x.verdict == "harm"
    ]
    passes = "yes" if verdict.passed else "no"
    return (
        f"| {name} | {chosen} | {verdict.verdict.replace('_', ' ')} | {', '.join(harmed)} "
        f"| {points_up(bound.upper)} ({group}) | {passes} |"
    )


# ---------------------------------------------------------------------------------------------- COMPAS


def compas(repetitions: int, margin: float) -> None:
    """Let autotune choose the bits of the weights, from 2 upwards."""
    print(f"| repetition | {HEADER}\n|---|---|---|---|---|---|---|")
    counted: dict[str, Counter[str]] = {"accuracy": Counter(), **{name: Counter() for name in WATCHED}}
    for seed in range(repetitions):
        dataset = fp.load_dataset("compas", split_seed=seed, test_share=0.7)
        base = fp.train("mlp", dataset.development(), seed=seed)
        rows, module = halves(dataset, base, seed), module_of(base, dataset)
        by = ["sex", "race", "age_group"]
        guards = {
            n: fp.Guard(rows.loop, rows.verdict, by=by, margin=margin, watch=w) for n, w in WATCHED.items()
        }
        for name in counted:
            guard = guards.get(name, guards["guard"])
            bits, network = tuned(module, guard, rows, name, dataset.task.classes)
            if network is None:
                counted[name]["nothing"] += 1
                print(f"| {seed} | {name} | nothing | | | | |", flush=True)
                continue
            with torch.no_grad():
                scores = network(torch.from_numpy(rows.verdict_inputs)).numpy()
            verdict = guard.verdict(scores, name=f"{name} {bits} bits")
            counted[name][verdict.verdict] += 1
            print(f"| {seed} {report(name, f'{bits} bits', verdict)}", flush=True)
    for name, verdicts in counted.items():
        print(f"{name}: {dict(verdicts)}")


def tuned(
    module: nn.Module, guard: fp.Guard, rows: Halves, by: str, classes: tuple[str, ...]
) -> tuple[int | None, nn.Module | None]:
    """Return what autotune chooses by accuracy or by the guard: bits and network."""
    with quiet():
        from neural_compressor.torch.quantization import RTNConfig, TuningConfig, autotune

        from fairpress.integrations.neural_compressor import eval_fn

        inputs = [torch.from_numpy(rows.loop_inputs)]
        accuracy = accuracy_of(guard.labels, classes)

        def evaluate_accuracy(model: nn.Module) -> float:
            with torch.no_grad():
                return accuracy(model(inputs[0]).numpy())

        scores: list[float] = []
        # Symmetric: with an offset, 8-bit weights of neural-compressor 3.10 overflow.
        configs = [RTNConfig(bits=bits, use_sym=True, group_size=-1, use_layer_wise=False) for bits in BITS]
        evaluate = evaluate_accuracy if by == "accuracy" else eval_fn(guard, inputs)

        def recorded(model: nn.Module) -> float:
            scores.append(evaluate(model))
            return scores[-1]

        tolerable = ACCURACY_DROP if by == "accuracy" else guard.relative_tolerance
        best = autotune(module, TuningConfig(config_set=configs, tolerable_loss=tolerable), eval_fn=recorded)
    # Where no configuration keeps the limit, autotune returns the best of them.
    if scores[-1] < scores[0] * (1 - tolerable):
        return None, None
    return BITS[len(scores) - 2], best


# ---------------------------------------------------------------------------------------------- faces


def faces(folder: Path, margin: float) -> None:
    """Quantize by NNCF, and prune until accuracy falls by 1 %, or until the guard objects."""
    dataset = fp.load_dataset("utkface", size=48, test_share=0.6)
    if not folder.exists():
        fp.train("resnet18", dataset.development(), seed=0, training={"max_epochs": 5}).save(folder)
    base = fp.Artifact.load(folder)
    rows = halves(dataset, base, 0)
    guard = fp.Guard(rows.loop, rows.verdict, by=["race", "age_group"], margin=margin)
    print(guard, flush=True)
    print(f"| what | {HEADER}\n|---|---|---|---|---|---|---|", flush=True)
    quantized_faces(base, dataset.part("calibration").inputs[:CALIBRATION], rows, guard, dataset.task.classes)
    pruned_faces(module_of(base, dataset), rows, guard, dataset.task.classes)


def quantized_faces(
    base: fp.Artifact, calibration: np.ndarray, rows: Halves, guard: fp.Guard, classes: tuple[str, ...]
) -> None:
    """Let NNCF quantize to 8 bits and revert operators until the drop is acceptable."""
    import nncf
    import openvino

    from fairpress.integrations.nncf import validation_fn

    accuracy = accuracy_of(guard.labels, classes)

    def validate_accuracy(model: Any, items: Any) -> tuple[float | None, list[list[np.ndarray]]]:
        outputs = [model(item)[0] for item in items]
        scores = np.concatenate(outputs)
        return accuracy(scores) if len(scores) == len(guard.labels) else None, [[x] for x in outputs]

    core = openvino.Core()
    loops = {
        "accuracy": (validate_accuracy, ACCURACY_DROP),
        "guard": (validation_fn(guard), guard.tolerance),
    }
    for name, (validate, drop) in loops.items():
        with quiet():
            model = nncf.quantize_with_accuracy_control(
                core.read_model(base.onnx, b""),
                nncf.Dataset([calibration[i : i + 1] for i in range(len(calibration))]),
                nncf.Dataset(in_batches(rows.loop_inputs)),
                validation_fn=validate,
                max_drop=drop,
                drop_type=nncf.DropType.ABSOLUTE,
            )
        compiled = core.compile_model(model, "CPU")
        scores = [compiled(batch)[0] for batch in in_batches(rows.verdict_inputs)]
        verdict = guard.verdict(scores, name=f"int8 by {name}")
        print(f"| NNCF {report(name, 'int8', verdict)}", flush=True)


def pruned_faces(module: nn.Module, rows: Halves, guard: fp.Guard, classes: tuple[str, ...]) -> None:
    """Prune weights by magnitude: the sparsest network that each loop accepts, of the same candidates."""
    accuracy = accuracy_of(guard.labels, classes)
    full = accuracy(scores_of(module, rows.loop_inputs))
    accepted: dict[str, float] = {}
    for sparsity in SPARSITIES:
        scores = scores_of(pruned(module, sparsity), rows.loop_inputs)
        kept = {
            "accuracy": full - accuracy(scores) <= ACCURACY_DROP,
            "guard": guard.worst(scores).upper < guard.margin,
        }
        print(
            f"  {sparsity:.0%}: accuracy {full - accuracy(scores):+.4f} less; {guard.history[-1]}", flush=True
        )
        for name in (n for n, k in kept.items() if k and n not in accepted):
            accepted[name] = sparsity
        if len(accepted) == len(kept):
            break
    for name in ("accuracy", "guard"):
        if name not in accepted:
            print(f"| pruning | {name} | nothing | | | | |", flush=True)
    for name, sparsity in accepted.items():
        scores = scores_of(pruned(module, sparsity), rows.verdict_inputs)
        verdict = guard.verdict(scores, name=f"{name} {sparsity:.0%}")
        print(f"| pruning {report(name, f'{sparsity:.0%} zeros', verdict)}", flush=True)


def pruned(module: nn.Module, sparsity: float) -> nn.Module:
    """Return a copy of which this share of the weights is 0, the smallest of all layers together."""
    network = copy.deepcopy(module)
    weights = [m.weight.data for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    threshold = torch.cat([w.abs().flatten() for w in weights]).sort().values
    limit = threshold[int(sparsity * len(threshold))]
    for weight in weights:
        weight[weight.abs() < limit] = 0
    return network


def scores_of(module: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """Return the scores [rows, classes] of a network of pictures."""
    with torch.no_grad():
        return np.concatenate([module(torch.from_numpy(batch)).numpy() for batch in in_batches(inputs)])


def in_batches(inputs: np.ndarray, size: int = 64) -> list[np.ndarray]:
    """Return the rows in batches."""
    return [np.ascontiguousarray(inputs[i : i + size]) for i in range(0, len(inputs), size)]


def main() -> None:
    """Print the table of one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["compas", "faces"])
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--margin", type=float, default=0.02)
    parser.add_argument(
        "--model", type=Path, help="a resnet18 on UTKFace (fairpress train resnet18 --data utkface)"
    )
    args = parser.parse_args()
    if args.what == "compas":
        compas(args.repetitions, args.margin)
    else:
        faces(args.model, args.margin)


if __name__ == "__main__":
    main()
