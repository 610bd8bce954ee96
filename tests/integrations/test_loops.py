"""Every plug-in in a minimal loop that calls it as its tool does: better is higher, and the number is the guard's."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fairpress.core.errors import MissingExtra, UserError
from fairpress.integrations import lightning, mlflow, neural_compressor, nncf, olive, transformers
from fairpress.integrations.model_outputs import outputs_of
from guarded import CLASSES, WEIGHTS, baseline, batches, guard, inputs, network, table, wrong_for

WORSE = WEIGHTS + np.array([[0, 0], [0, 0], [0.8, -0.8], [0, 0]], np.float32)


def rule(weights: np.ndarray):
    """Return a model that is a function of a batch."""
    return lambda batch: batch @ weights


def test_nncf_reverts_operators_until_the_drop_is_within_the_tolerance():
    guarded = guard()
    validate = nncf.validation_fn(guarded)
    items = batches("loop")
    initial, _ = validate(rule(WEIGHTS), items)
    quantized = [WEIGHTS + f * (WORSE - WEIGHTS) for f in (1.0, 0.5, 0.1, 0.0)]
    drops = [initial - validate(rule(w), items)[0] for w in quantized]
    assert drops == sorted(drops, reverse=True)
    accepted = next(w for w, d in zip(quantized, drops, strict=True) if d <= guarded.tolerance)
    assert guarded.worst([b @ accepted for b in items]).upper < guarded.margin
    assert drops[0] > guarded.tolerance


def test_nncf_gets_outputs_of_a_single_item_and_no_score():
    """So that it ranks operators by how outputs change: a bound of one item means nothing."""
    score, outputs = nncf.validation_fn(guard())(rule(WEIGHTS), batches("loop")[:1])
    assert score is None
    assert np.array_equal(outputs[0][0], batches("loop")[0] @ WEIGHTS)


def test_neural_compressor_takes_the_first_configuration_within_the_relative_tolerance():
    guarded = guard()
    evaluate = neural_compressor.eval_fn(guarded, batches("loop"))
    fp32 = evaluate(rule(WEIGHTS))
    losses = [(fp32 - evaluate(rule(w))) / fp32 for w in (WORSE, WEIGHTS)]
    assert losses[0] > guarded.relative_tolerance >= losses[1] == 0


def test_olive_gets_the_score_and_the_bound_of_the_session_that_its_model_prepares():
    guarded = guard()
    evaluate = olive.evaluate_func(guarded, batches("loop"))

    class Handler:
        def prepare_session(self, inference_settings=None, device="cpu", execution_providers=None, rank=None):
            return rule(WORSE)

    result = evaluate(Handler(), "cpu", ["CPUExecutionProvider"])
    worst = guarded.worst(inputs("loop") @ WORSE)
    assert result == {"group_score": 1 - worst.upper, "group_loss_bound": worst.upper}


def test_the_trainer_gets_metrics_and_labels_in_another_order_are_refused():
    guarded = guard()
    compute = transformers.compute_metrics(guarded)
    labels = np.array([CLASSES.index(x) for x in table("loop")["label"].to_pylist()])
    scores = inputs("loop") @ WEIGHTS
    metrics = compute(SimpleNamespace(predictions=scores, label_ids=labels))
    assert metrics["group_score"] == 1 - guarded.unchanged.upper
    assert metrics["accuracy"] == np.mean(baseline("loop") == labels)
    hidden_states = (scores, np.zeros((900, 7)))
    assert compute(SimpleNamespace(predictions=hidden_states, label_ids=labels)) == metrics
    with pytest.raises(UserError, match="in another order"):
        compute(SimpleNamespace(predictions=scores, label_ids=labels[::-1]))


def test_the_lightning_callback_logs_after_validation_and_not_in_the_sanity_check(monkeypatch):
    monkeypatch.setattr(lightning, "_callback_class", lambda: object)
    guarded, logged = guard(), {}

    class Module:
        def __call__(self, batch):
            return batch @ WORSE

        def log(self, name, value, **_):
            logged[name] = value

    callback = lightning.guard_callback(guarded, batches("loop"))
    callback.on_validation_epoch_end(SimpleNamespace(sanity_checking=True), Module())
    assert not logged
    callback.on_validation_epoch_end(SimpleNamespace(sanity_checking=False), Module())
    bound = guarded.worst(inputs("loop") @ WORSE).upper
    assert logged == {"group_score": 1 - bound, "group_loss_bound": bound}


def test_the_metric_of_mlflow_needs_the_targets_of_the_loop(monkeypatch):
    metrics = SimpleNamespace(
        MetricValue=SimpleNamespace, make_metric=lambda **options: SimpleNamespace(**options)
    )
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(metrics=metrics))
    monkeypatch.setitem(sys.modules, "mlflow.metrics", metrics)
    guarded = guard()
    made = mlflow.metric(guarded)
    assert made.greater_is_better
    candidate, labels = wrong_for("loop", 0.02), table("loop")["label"].to_pylist()
    value = made.eval_fn(candidate, labels)
    assert value.aggregate_results == {"group_score": guarded.score(candidate)}
    with pytest.raises(UserError, match="in another order"):
        made.eval_fn(candidate, labels[::-1])


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("lightning", lambda: lightning.guard_callback(None, []), "lightning"),
        ("mlflow.metrics", lambda: mlflow.metric(None), "mlflow"),
    ],
)
def test_a_tool_that_is_not_installed_is_named_as_an_extra(monkeypatch, module, make, extra):
    for name in (module, "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"fairpress\[{extra}\]"):
        make()


def test_plug_ins_import_no_tool_and_no_torch():
    code = (
        "import sys, fairpress.integrations.nncf, fairpress.integrations.olive, fairpress.integrations.mlflow, "
        "fairpress.integrations.lightning, fairpress.integrations.transformers, "
        "fairpress.integrations.neural_compressor; "
        "print([m for m in ('torch', 'nncf', 'olive', 'mlflow', 'lightning', 'transformers', 'neural_compressor') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_outputs_of_an_onnx_model_are_those_of_its_session():
    onnx = pytest.importorskip("onnx")
    outputs = outputs_of(onnx.load_from_string(network()), batches("loop"))
    assert np.allclose(np.concatenate(outputs), inputs("loop") @ WEIGHTS, atol=1e-5)


def test_outputs_of_a_module_are_without_dropout_and_gradients_and_its_mode_is_restored():
    torch = pytest.importorskip("torch")
    linear = torch.nn.Linear(4, 2, bias=False)
    linear.weight.data = torch.from_numpy(WEIGHTS.T.copy())
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), linear).train()
    model[1].eval()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(inputs("loop")), torch.zeros(900)), batch_size=64
    )
    outputs = outputs_of(model, loader)
    assert not any(x.requires_grad for x in outputs)
    assert guard().worst(outputs) == guard().unchanged
    assert (model.training, model[0].training, model[1].training) == (True, True, False)


def test_batches_that_are_dictionaries_are_passed_by_name_without_their_labels():
    torch = pytest.importorskip("torch")

    class Named(torch.nn.Module):
        def forward(self, x, mask):
            return {"loss": torch.zeros(1), "logits": x @ torch.from_numpy(WEIGHTS) + 0 * mask}

    loader = [
        {"x": torch.from_numpy(b), "mask": torch.ones(1), "labels": torch.zeros(len(b))}
        for b in batches("loop")
    ]
    assert guard().worst(outputs_of(Named(), loader)) == guard().unchanged


def test_a_model_that_cannot_be_called_needs_a_way_to():
    with pytest.raises(UserError, match="say how to run it with `call=`"):
        outputs_of(object(), batches("loop"))
    scores = outputs_of(object(), batches("loop"), lambda model, batch: (batch @ WEIGHTS, None))
    assert guard().worst(scores) == guard().unchanged


def test_a_call_may_return_a_list_of_classes_and_a_session_a_batch_of_tensors():
    torch = pytest.importorskip("torch")
    guarded = guard()
    listed = outputs_of(
        rule(WEIGHTS), batches("loop"), lambda model, batch: model(batch).argmax(axis=1).tolist()
    )
    assert guarded.worst(listed) == guarded.worst(baseline("loop"))
    tensors = [{"x": torch.from_numpy(batch), "labels": None} for batch in batches("loop")]
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(network(), providers=["CPUExecutionProvider"])
    assert guarded.worst(outputs_of(session, tensors)) == guarded.worst(baseline("loop"))
