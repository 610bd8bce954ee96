"""One network, one recipe: the file against its module, by an ONNX Runtime session that fairpress did not open."""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto
from torch import Tensor, nn

import fairpress as fp
from fairpress.core.errors import FairpressError

ROWS, COMPRESS_ROWS = 200, 256
INTEGER_BITS = {TensorProto.INT8: 8, TensorProto.INT4: 4}
INTEGER_OPERATORS = (
    *("QGemm", "QLinearConv", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "ConvInteger"),
    *("DynamicQuantizeMatMul", "DynamicQuantizeLSTM"),
)
FLOAT_PRODUCTS = (
    *("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
    *("LSTM", "GRU", "RNN", "Einsum"),
)


@dataclass
class Measured:
    """What a recipe made of a network.

    Attributes
    ----------
    answer
        ``file``; ``refused`` (one of fairpress's own errors); ``fault`` (any other exception), with its text in `said`.
    agree, difference
        Share of `ROWS` rows that file and module decide alike; the root mean square of the differences of their logits, each
        without its row's mean, over the spread of the module's.
    share, bytes_share
        Bit width → share of the parameters, of the bytes of the file, as read from the file.
    operators
        Integer operators in the graph as ONNX Runtime optimises it, and what products are left in float.
    card
        Whether the card states the same number of parameters at each integer width, and all of the network's.
    """

    network: str
    recipe: str
    answer: str = "file"
    said: str = ""
    parameters: int = 0
    size: int = 0
    agree: float | None = None
    difference: float | None = None
    share: dict[int, float] = field(default_factory=dict)
    bytes_share: dict[int, float] = field(default_factory=dict)
    operators: dict[str, int] = field(default_factory=dict)
    card: bool | None = None
    seconds: float = 0.0

    def row(self) -> dict[str, object]:
        """Return the fields that are not empty, numbers rounded."""

        def plain(value: object) -> object:
            return round(value, 4) if isinstance(value, float) else value

        return {
            name: {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else plain(value)
            for name, value in asdict(self).items()
            if value not in ("", None, {})
        }


def measure(
    name: str,
    recipe: str,
    build: Callable[[], nn.Module],
    inputs: Callable[[int, torch.Generator], dict[str, Tensor]],
) -> Measured:
    """Compress a network with random weights and compare the file with it; see `Measured`."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    module = build().eval()
    with torch.no_grad():
        for p in module.parameters():  # zeros of new networks would make whole branches say nothing
            if not p.any():
                p.normal_(0, 0.1, generator=generator)
    rows, check = inputs(COMPRESS_ROWS, generator), inputs(ROWS, generator)
    if set(rows) == {"x"} and rows["x"].is_floating_point():
        module = settle(module, rows["x"])
    balance(module, logits(module, check))
    expected = logits(module, check)
    labels = torch.arange(COMPRESS_ROWS) % expected.shape[1]
    result = Measured(name, recipe, parameters=sum(p.numel() for p in module.parameters()))
    batch = (rows["x"], labels) if set(rows) == {"x"} else {**rows, "labels": labels}
    started = time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            artifact = fp.compress(module, recipe, data=[batch])
    except FairpressError as error:
        result.answer, result.said = "refused", str(error)
        return result
    except Exception as error:  # the zoo is there to find them
        frame = traceback.extract_tb(error.__traceback__)[-1]
        result.answer = "fault"
        result.said = (
            f"{type(error).__name__}: {str(error)[:300]} ({Path(frame.filename).name}:{frame.lineno})"
        )
        return result
    result.seconds = time.perf_counter() - started
    result.said = " ".join(str(w.message) for w in caught if issubclass(w.category, UserWarning))
    result.size = artifact.size
    result.agree, result.difference = against(run(artifact.onnx, check), expected.numpy())
    counts, taken = stored(artifact.onnx)
    total = max(sum(counts.values()), 1)
    result.share = {bits: counts[bits] / total for bits in sorted(counts)}
    result.bytes_share = {bits: taken[bits] / artifact.size for bits in sorted(taken)}
    result.operators = operators(artifact.onnx)
    result.card = card_agrees(artifact.card.provenance["details"], counts, module)
    return result


@torch.no_grad()
def balance(module: nn.Module, outputs: Tensor) -> None:
    """Let every class be predicted: the mean logits of some rows are taken from the head's bias, in place."""
    heads = [m for m in module.modules() if isinstance(m, nn.Linear) and m.bias is not None]
    if heads and heads[-1].bias.shape == outputs.shape[1:]:
        heads[-1].bias -= outputs.mean(0)


@torch.no_grad()
def logits(module: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return a network's logits [rows, classes], 0 and the logit where it has one."""
    out = module(*inputs.values()) if set(inputs) == {"x"} else module(**inputs)
    out = out if isinstance(out, Tensor) else out.logits
    if out.dim() == 1:
        out = torch.stack([torch.zeros_like(out), out], 1)
    return out


def settle(net: nn.Module, rows: torch.Tensor) -> nn.Module:
    """Return the network in evaluation mode, its batch norms set to the statistics of some rows, as training sets them."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        net.train()
        for norm in norms:
            norm.momentum = None  # a plain average
            norm.reset_running_stats()
        with torch.no_grad():
            for part in rows.split(32):
                net(part)
    return net.eval()


def run(data: bytes, inputs: Mapping[str, Tensor]) -> np.ndarray:
    """Return the first output of a file, run with ONNX Runtime's own defaults."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    arrays = {k: v.numpy() for k, v in inputs.items()}
    if len(names) == 1 and names[0] not in arrays:
        matrix = [v.reshape(len(v), -1).astype(np.float32) for v in arrays.values()]
        arrays = {names[0]: np.concatenate(matrix, 1) if len(matrix) > 1 else next(iter(arrays.values()))}
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    fed = {i.name: arrays[i.name].astype(kinds[i.type]) for i in session.get_inputs()}
    return session.run(None, fed)[0]


def against(given: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return the share of equal decisions, and the relative difference of logits."""
    if given.ndim == 1 or given.shape[1] == 1:
        given = np.stack([np.zeros(len(given)), given.ravel()], 1)
    centred = expected - expected.mean(1, keepdims=True)
    spread = math.sqrt(float(((centred - centred.mean(0)) ** 2).mean()))
    difference = given - given.mean(1, keepdims=True) - centred
    return float((given.argmax(1) == expected.argmax(1)).mean()), math.sqrt(
        float((difference**2).mean())
    ) / spread


def stored(data: bytes) -> tuple[Counter[int], Counter[int]]:
    """Return bit width → number of stored parameters, and their bytes; without scales, zero points and shapes."""
    graph = onnx.load_from_string(data).graph
    made = {o: n for n in graph.node for o in n.output}
    tensors = {t.name: t for t in graph.initializer}

    def source(name: str) -> str:
        """Return the stored tensor that a value is, in another type or shape."""
        while name in made and made[name].op_type in (
            "Cast",
            "Unsqueeze",
            "Identity",
            "Reshape",
            "Transpose",
        ):
            name = made[name].input[0]
        return name

    scales: set[str] = set()
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scales.update(map(source, node.input[1:]))
        elif node.op_type == "DynamicQuantizeLSTM":
            scales.update(node.input[8:12])
        elif node.op_type == "MatMulInteger":
            scales.update(node.input[2:])
        elif node.op_type == "Mul":
            ends = [source(i) for i in node.input]
            for one, other in (ends, ends[::-1]):
                gathered = made[one].input[0] if one in made and made[one].op_type == "Gather" else one
                integers = source(gathered) in tensors and tensors[source(gathered)].data_type in INTEGER_BITS
                if integers or (
                    one in made and made[one].op_type in ("MatMulInteger", "DynamicQuantizeLinear")
                ):
                    scales.add(
                        source(made[other].input[0])
                        if other in made and made[other].op_type == "Gather"
                        else other
                    )
    counts: Counter[int] = Counter()
    taken: Counter[int] = Counter()
    for name, tensor in tensors.items():
        bits = INTEGER_BITS.get(tensor.data_type)
        if bits is None and tensor.data_type in (TensorProto.FLOAT, TensorProto.INT32):
            bits = 32
        count = math.prod(tensor.dims)
        if bits is None or name in scales or not tensor.dims:
            continue
        counts[bits] += count
        taken[bits] += -(-count * bits // 8)
    return counts, taken


def operators(data: bytes) -> dict[str, int]:
    """Return how many integer operators and float products ONNX Runtime runs."""
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    counted = Counter(n.op_type for n in graph.node)
    constants = {t.name for t in graph.initializer}
    floats = Counter(n.op_type for n in graph.node if n.op_type in FLOAT_PRODUCTS and n.input[1] in constants)
    return {
        **{op: counted[op] for op in INTEGER_OPERATORS if counted[op]},
        **{f"float {op}": c for op, c in floats.items()},
    }


def card_agrees(details: Mapping[str, object], counts: Mapping[int, int], module: nn.Module) -> bool:
    """Return whether a card has the file's numbers of integer parameters, and about as many parameters as the module."""
    stated = details.get("shares_at_bits")
    if not isinstance(stated, Mapping):
        return False
    number = {int(bits): entry.get("count", -1) for bits, entry in stated.items()}
    total = sum(p.numel() for p in module.parameters())
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    folded = sum(p.numel() for m in norms for p in m.parameters())  # they become part of the layer before
    same = all(number.get(bits, 0) == counts.get(bits, 0) for bits in INTEGER_BITS.values())
    return same and 0.95 * (total - folded) <= sum(number.values()) <= 1.1 * total
