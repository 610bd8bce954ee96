"""Every plug-in in its own tool, where that is installed: a candidate that harms a group is not taken."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fairpress.integrations import lightning as lightning_plug_in
from fairpress.integrations import mlflow as mlflow_plug_in
from fairpress.integrations import neural_compressor as neural_compressor_plug_in
from fairpress.integrations import nncf as nncf_plug_in
from fairpress.integrations import transformers as transformers_plug_in
from guarded import CLASSES, WEIGHTS, baseline, batches, guard, inputs, network, table, wrong_for

# Their warnings are about themselves.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def tool(name: str):
    """Return a module, or skip the test with the reason."""
    return pytest.importorskip(name, reason=f"{name} is not installed")


def rule_module():
    torch = tool("torch")
    linear = torch.nn.Linear(4, 2, bias=False)
    linear.weight.data = torch.from_numpy(WEIGHTS.T.copy())
    return torch.nn.Sequential(linear)


def labels() -> np.ndarray:
    return np.array([CLASSES.index(x) for x in table("loop")["label"].to_pylist()])


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_nncf_accepts_eight_bits_when_no_group_pays(backend):
    nncf = tool("nncf")
    if backend == "onnx":
        model = tool("onnx").load_from_string(network())
        calibration = [{"x": b} for b in batches("verdict")]
    else:
        model = tool("openvino").Core().read_model(network(), b"")
        calibration = batches("verdict")
    guarded = guard()
    quantized = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(calibration),
        nncf.Dataset([{"x": b} for b in batches("loop")] if backend == "onnx" else batches("loop")),
        validation_fn=nncf_plug_in.validation_fn(guarded),
        max_drop=guarded.tolerance,
        drop_type=nncf.DropType.ABSOLUTE,
    )
    assert quantized is not None
    assert len(guarded.history) >= 2
    assert guarded.history[0] == guarded.unchanged
    assert guarded.history[-1].upper < guarded.margin


def test_neural_compressor_passes_over_bits_that_harm():
    torch = tool("torch")
    tool("neural_compressor")
    from neural_compressor.torch.quantization import RTNConfig, TuningConfig, autotune

    guarded = guard()
    configs = [RTNConfig(bits=bits, use_sym=True, group_size=-1, use_layer_wise=False) for bits in (2, 8)]
    best = autotune(
        rule_module(),
        TuningConfig(config_set=configs, tolerable_loss=guarded.relative_tolerance),
        eval_fn=neural_compressor_plug_in.eval_fn(guarded, [torch.from_numpy(b) for b in batches("loop")]),
    )
    fp32, two, eight = guarded.history
    assert fp32 == guarded.unchanged
    assert two.upper > guarded.margin > eight.upper
    with torch.no_grad():
        decided = best(torch.from_numpy(inputs("loop"))).numpy()
    assert guarded.worst(decided) == eight


SCRIPT = """
import sys

sys.path[:0] = {paths!r}

from fairpress.integrations.olive import evaluate_func
from guarded import batches, guard

group_bound = evaluate_func(guard(), batches("loop"))
"""


def test_olive_evaluates_files_by_the_worst_group(tmp_path):
    tool("olive")
    from olive.evaluator.metric import Metric
    from olive.evaluator.olive_evaluator import OnnxEvaluator
    from olive.model import ONNXModelHandler

    (tmp_path / "rule.onnx").write_bytes(network())
    script = tmp_path / "user_script.py"
    script.write_text(SCRIPT.format(paths=[str(Path(__file__).parents[1] / "helpers"), *sys.path]))
    metric = Metric(
        name="groups",
        type="custom",
        sub_types=[{"name": "group_score", "priority": 1, "higher_is_better": True}],
        user_config={"user_script": str(script), "evaluate_func": "group_bound"},
    )
    result = OnnxEvaluator().evaluate(ONNXModelHandler(str(tmp_path / "rule.onnx")), [metric])
    value = json.loads(result.model_dump_json())["groups-group_score"]["value"]
    assert value == pytest.approx(1 - guard().unchanged.upper)


def test_the_trainer_keeps_the_checkpoint_whose_worst_group_is_bounded_best(tmp_path, monkeypatch):
    torch = tool("torch")
    transformers = tool("transformers")
    tool("accelerate")
    # It would take tests/datasets for the package of that name.
    monkeypatch.setattr("transformers.trainer.is_datasets_available", lambda: False)

    class Rule(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = rule_module()

        def forward(self, x, labels=None):
            logits = self.body(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    truth, x = torch.from_numpy(labels()), torch.from_numpy(inputs("loop"))
    rows = [{"x": a, "labels": b} for a, b in zip(x, truth, strict=True)]
    # Training on labels of which half are wrong moves the network away from the rule it begins with.
    damaged = [{"x": r["x"], "labels": (1 - r["labels"])} for r in rows[:400]]
    guarded = guard()
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        num_train_epochs=3,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=64,
        learning_rate=0.02,
        eval_strategy="epoch",
        save_strategy="epoch",
        metric_for_best_model="group_score",
        greater_is_better=True,
        load_best_model_at_end=True,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        Rule(),
        arguments,
        train_dataset=damaged,
        eval_dataset=rows,
        compute_metrics=transformers_plug_in.compute_metrics(guarded),
    )
    trainer.train()
    logged = [entry["eval_group_score"] for entry in trainer.state.log_history if "eval_group_score" in entry]
    assert len(logged) == 3
    assert trainer.state.best_metric == max(logged)
    assert logged == [1 - w.upper for w in guarded.history]


def test_lightning_checkpoints_by_the_worst_group(tmp_path):
    torch = tool("torch")
    lightning = tool("lightning.pytorch")
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Drifting(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.body = rule_module()

        def forward(self, x):
            return self.body(x)

        def training_step(self, batch, _):
            x, y = batch
            return torch.nn.functional.cross_entropy(self(x), y)

        def validation_step(self, batch, _):
            self.log("loss", torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.5)

    def loader(y):
        rows = torch.utils.data.TensorDataset(torch.from_numpy(inputs("loop")), torch.from_numpy(y))
        return torch.utils.data.DataLoader(rows, batch_size=128)

    guarded = guard()
    callback = lightning_plug_in.guard_callback(guarded, [torch.from_numpy(b) for b in batches("loop")])
    best = ModelCheckpoint(tmp_path, monitor="group_score", mode="max")
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[callback, best],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Drifting(), loader(1 - labels()), loader(labels()))
    assert len(guarded.history) == 3
    assert float(best.best_model_score) == pytest.approx(max(1 - w.upper for w in guarded.history))


def test_mlflow_logs_the_score_and_refuses_a_model_that_harms(tmp_path):
    mlflow = tool("mlflow")
    pandas = tool("pandas")
    tool("sklearn")
    from mlflow.models import MetricThreshold

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    guarded = guard()
    results = {}
    for name, decided in (("same", baseline("loop")), ("harmful", wrong_for("loop", 0.06))):
        data = pandas.DataFrame(
            {"predicted": np.array(CLASSES)[decided], "label": table("loop")["label"].to_pylist()}
        )
        with mlflow.start_run():
            results[name] = mlflow.models.evaluate(
                data=data,
                predictions="predicted",
                targets="label",
                extra_metrics=[mlflow_plug_in.metric(guarded)],
            )
    key = next(k for k in results["same"].metrics if k.startswith("group_score"))
    assert results["same"].metrics[key] == pytest.approx(1 - guarded.unchanged.upper)
    threshold = {key: MetricThreshold(threshold=1 - guarded.margin, greater_is_better=True)}
    mlflow.validate_evaluation_results(candidate_result=results["same"], validation_thresholds=threshold)
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"group_score"):
        mlflow.validate_evaluation_results(
            candidate_result=results["harmful"], validation_thresholds=threshold
        )
