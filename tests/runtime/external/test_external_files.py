"""ONNX files of every rank, type and kind of output: run as they are meant, or refused with the true cause."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pandas as pd
import pyarrow.parquet as pq
import pytest
from onnx import helper

from fairpress import api, cli, datasets
from fairpress.core.errors import ModelWarning, UserError
from fairpress.runtime.external.model import open_external

HEAD = '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>\n'
ONE = "<float[3,1] w = {1.5,-1.0,0.5}, float[1] b = {0.1}>"
TWO = "<float[3,2] w = {-1.5,1.5,1.0,-1.0,-0.5,0.5}, float[2] b = {-0.1,0.1}>"
LOGISTIC = "{ p = MatMul(x,w) q = Add(p,b) o = Sigmoid(q) }"
SOFTMAX = "p = MatMul(x,w) q = Add(p,b) prob = Softmax<axis=1>(q)"
LABELLED = (
    "{ "
    + SOFTMAX
    + " i1 = Constant<value_ints=[1]>() i2 = Constant<value_ints=[2]>() c = Slice(prob,i1,i2,i1) "
    's = Squeeze(c,i1) e = Greater(s,th) high = Constant<value_strings=["%s"]>() low = Constant<value_strings=["%s"]>() '
    "label = Where(e,high,low) }"
)


def people(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    a, b, c = rng.normal(size=(3, rows)).round(4)
    noisy = 1.5 * a - b + 0.5 * c + rng.normal(size=rows)
    return pd.DataFrame(
        {
            "a": a,
            "b": b,
            "c": c,
            "code": rng.integers(1, 4, rows),
            "member": rng.choice(["yes", "no"], rows),
            "income": rng.integers(2**24, 2**26, rows),
            "sex": rng.choice(["F", "M"], rows),
            "ill": np.where(noisy > 0, "yes", "no"),
            "paid": np.where(noisy > 0, "bad", "good"),
            "flag": (noisy > 0).astype(int),
        }
    )


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people().to_csv("people.csv", index=False)

    def load(label="ill", positive="yes", features="[a, b, c]"):
        text = f'path: people.csv\nlabel: {label}\npositive: "{positive}"\nfeatures: {features}\nsensitive: [sex]\n'
        (tmp_path / f"{label}.yaml").write_text(text, encoding="utf-8")
        return datasets.load(f"{label}.yaml")

    return load


def save(graph: str, change=None, message: str | None = None):
    model = onnx.parser.parse_model(HEAD + graph)
    if change is not None:
        change(model)
    onnx.save(model, "m.onnx")
    Path("m.model.yaml").unlink(missing_ok=True)
    if message is not None:
        Path("m.model.yaml").write_text(message, encoding="utf-8")


def decided(dataset):
    return np.array(api.predict({"m": "m.onnx"}, dataset, part="all")["m"].to_pylist())


def expected(positive="yes", negative="no", at=0.0):
    t = people()
    logit = 1.5 * t.a - t.b + 0.5 * t.c + 0.1
    return np.where(logit >= at, positive, negative)


def unknown_rank(model):
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.ClearField("shape")


def rows_per_call(number):
    def change(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = number

    return change


def weights_among_inputs(model):
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )


TRANSPOSED = (
    "{ axis = Constant<value_ints=[2]>() y = Squeeze(x,axis) p = MatMul(y,w) q = Add(p,b) o = Sigmoid(q) }"
)


@pytest.mark.parametrize(
    ("graph", "change", "message"),
    [
        (f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}", unknown_rank, "columns: [a, b, c]\n"),
        (f"g (float[1,k] x) => (float[1,1] o) {ONE}{LOGISTIC}", None, "columns: [a, b, c]\n"),
        (f"g (float[n,1,3] x) => (float[n,1,1] o) {ONE}{LOGISTIC}", None, None),
        (f"g (float[n,3,1] x) => (float[n,1] o) {ONE}{TRANSPOSED}", None, None),
        (f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}", rows_per_call(7), None),
        (f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}", weights_among_inputs, None),
        (
            "g (float[n] a, float[n,1] b, float[n] c) => (float[n] o) { "
            "w = Constant<value_float=1.5>() v = Constant<value_float=0.5>() d = Constant<value_float=0.1>() "
            "i = Constant<value_ints=[1]>() b1 = Squeeze(b,i) "
            "p = Mul(a,w) q = Sub(p,b1) r = Mul(c,v) s = Add(q,r) t = Add(s,d) o = Sigmoid(t) }",
            None,
            None,
        ),
        (
            f"g (float[n,3] x) => (float[n,1] o, float mean) {ONE}"
            "{ p = MatMul(x,w) q = Add(p,b) o = Sigmoid(q) mean = ReduceMean<keepdims=0>(q) }",
            None,
            None,
        ),
        (
            f"g (float[1,3] x) => (float o) {ONE}{{ p = MatMul(x,w) q = Add(p,b) r = Sigmoid(q) o = Squeeze(r) }}",
            None,
            None,
        ),
        (f"g (float[n,3] x) => (double[n,2] o) {TWO}{{ {SOFTMAX} o = Cast<to=11>(prob) }}", None, None),
        (
            "g (float[n,3] x) => (float[n,1,2] o) "
            f"{TWO}{{ {SOFTMAX} i = Constant<value_ints=[1]>() o = Unsqueeze(prob,i) }}",
            None,
            None,
        ),
        (
            f"g (float[n,3] x) => (int64[n] o) {TWO}{{ p = MatMul(x,w) q = Add(p,b) o = ArgMax<axis=1,keepdims=0>(q) }}",
            None,
            None,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::fairpress.core.errors.ModelWarning")
def test_every_rank_and_kind_of_output_gives_the_same_decisions(data, graph, change, message):
    save(graph, change, message)
    assert (decided(data()) == expected()).all()


@pytest.mark.parametrize(
    ("graph", "change", "message", "sentence"),
    [
        (
            f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}",
            rows_per_call(10**9),
            None,
            "exactly 1,000,000,000 rows",
        ),
        (f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}", rows_per_call(0), None, "exactly 0 rows"),
        (f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}", unknown_rank, None, "list under `columns`"),
        (
            f"g (float[3] x) => (float[1] o) {ONE}{LOGISTIC}",
            None,
            None,
            r"shape \[3\], which does not hold 3 columns",
        ),
        ("g () => (float[2] o) { o = Constant<value_floats=[1.0,2.0]>() }", None, None, "has no inputs"),
        (
            "g (optional(float[n,3]) x) => (float[n,3] o) { o = OptionalGetElement(x) }",
            None,
            None,
            r"takes optional\(tensor\(float\)\)",
        ),
        (
            "g (bfloat16[n,3] x) => (float[n,3] o) { o = Cast<to=1>(x) }",
            None,
            None,
            r"takes tensor\(bfloat16\)",
        ),
        (
            f"g (float[n,3] x) => (bfloat16[n,2] o) {TWO}{{ {SOFTMAX} o = Cast<to=16>(prob) }}",
            None,
            None,
            "is in bfloat16",
        ),
        (
            f"g (float[n,3] x) => (int8[n,2] o) {TWO}{{ {SOFTMAX} o = Cast<to=3>(prob) }}",
            None,
            None,
            "output of floats",
        ),
        (
            f"g (float[n,3] x) => (float[2,n] o) {TWO}{{ {SOFTMAX} o = Transpose(prob) }}",
            None,
            None,
            "one line for each of 512 rows",
        ),
        (
            f"g (float[n,3] x) => (float o) {ONE}{{ p = MatMul(x,w) o = ReduceMean<keepdims=0>(p) }}",
            None,
            None,
            "one line for each",
        ),
        (
            "g (float[n,3] x) => (seq(float[n,3]) o) { o = SequenceConstruct(x,x) }",
            None,
            None,
            "it is a sequence",
        ),
        (
            f"g (float[n,3] x) => (float[n,1] o) {ONE}{{ p = MatMul(x,w) q = Add(p,b) o = Softmax<axis=0>(q) }}",
            None,
            None,
            "depends on the other rows of the call",
        ),
        (
            f"g (float[n,3] x) => (float[n,1] o) {ONE}{{ p = MatMul(x,w) q = Log(p) o = Sigmoid(q) }}",
            None,
            None,
            "gives NaN",
        ),
        (
            f"g (float[n,3] x) => (float[n,1] o) {ONE}{{ p = MatMul(x,w) s = Sigmoid(p) k = Constant<value_float=100.0>() "
            "o = Mul(s,k) }",
            None,
            None,
            "may be percentages",
        ),
        (
            f"g (float[n,3] x) => (float[n,1] o) {ONE}{{ p = MatMul(x,w) o = Add(p,b) }}",
            None,
            "activation: none\n",
            "outside 0 to 1",
        ),
    ],
)
def test_what_cannot_be_run_is_one_sentence_with_its_cause(data, graph, change, message, sentence):
    save(graph, change, message)
    with pytest.raises(UserError, match=sentence):
        decided(data())


def test_scores_of_one_output_for_each_class_are_put_together(data):
    graph = (
        f"g (float[n,3] x) => (int64[n] label, float[n] i1, float[n] i0) {ONE[:-1]}, float one = {{1.0}}>"
        "{ p = MatMul(x,w) q = Add(p,b) r = Sigmoid(q) i = Constant<value_ints=[1]>() i1 = Squeeze(r,i) i0 = Sub(one,i1) "
        "h = Round(i1) label = Cast<to=7>(h) }"
    )
    save(graph)
    flags = data("flag", "1")
    assert open_external("m.onnx", flags).classes == ("1", "0")  # by the names of the outputs
    assert (decided(flags) == expected("1", "0")).all()
    save(graph, message="output: [i1, i0]\nclasses: ['yes', 'no']\n")
    assert (decided(data()) == expected()).all()
    save(graph, message="output: i1\n")
    assert (decided(data()) == expected()).all()


def test_two_outputs_that_could_be_scores_are_named_with_the_key_that_chooses(data):
    save(f"g (float[n,3] x) => (float[n,2] q, float[n,2] prob) {TWO}{{ {SOFTMAX} }}")
    with pytest.raises(UserError, match=r"2 outputs that could be scores \(q, prob\).*`output: q`"):
        decided(data())


def labelled(threshold, high="yes", low="no", message=None):
    weights = TWO[:-1] + f", float[1] th = {{{threshold}}}>"
    save(
        f"g (float[n,3] x) => (string[n] label, float[n,2] prob) {weights}" + LABELLED % (high, low),
        message=message,
    )


def test_labels_that_the_file_decides_otherwise_are_said_with_the_threshold_that_agrees(data):
    labelled(0.7)
    with pytest.warns(ModelWarning, match=r"'label' differs in \d+ of 600 rows .* `threshold: 0.7`"):
        decided(data())
    own = expected(at=np.log(0.7 / 0.3) / 2)
    labelled(0.7, message="threshold: 0.7\n")
    assert (decided(data()) == own).all()
    labelled(0.7, message="output: label\n")
    table = api.predict({"m": "m.onnx"}, data(), part="all")
    assert (np.array(table["m"].to_pylist()) == own).all()
    assert "m.score" not in table.column_names


def test_labels_give_the_order_of_the_classes_away_and_contradict_a_wrong_one(data):
    labelled(0.5, high="no", low="yes")
    assert open_external("m.onnx", data()).classes == ("yes", "no")
    labelled(0.7, high="no", low="yes")
    assert open_external("m.onnx", data()).classes == ("yes", "no")
    for threshold in (0.3, 0.5):
        labelled(threshold, message="classes: ['yes', 'no']\n")
        with pytest.raises(UserError, match=r"in the order of its labels, no, yes"):
            decided(data())
    labelled(0.5, high="sick", low="well", message="classes: ['no', 'yes']\n")
    with pytest.warns(ModelWarning, match="contains sick, well, and the classes of 'ill' are no, yes"):
        decided(data())


def classifier(names, sign, message=None):
    whole = all(n.isdigit() for n in names)
    attribute = (
        f"classlabels_ints=[{','.join(names)}]"
        if whole
        else "classlabels_strings=[" + ",".join(f'"{n}"' for n in names) + "]"
    )
    weights = ",".join(str(sign * v) for v in (-0.75, 0.5, -0.25, 0.75, -0.5, 0.25))
    save(
        f"g (float[n,3] x) => ({'int64' if whole else 'string'}[n] label, float[n,2] prob) {{ label, prob = "
        f"ai.onnx.ml.LinearClassifier<{attribute}, coefficients=[{weights}], intercepts=[{-sign * 0.05},{sign * 0.05}], "
        'multi_class=1, post_transform="SOFTMAX">(x) }',
        message=message,
    )


def test_classes_that_a_classifier_names_are_the_order_of_its_columns(data):
    for names, sign in ((("no", "yes"), 1), (("yes", "no"), -1)):
        classifier(names, sign)
        assert open_external("m.onnx", data()).classes == names
        assert (decided(data()) == expected()).all()
    classifier(("bad", "good"), -1)
    assert (decided(data("paid", "bad")) == expected("bad", "good")).all()
    classifier(("1", "0"), -1)
    assert (decided(data("flag", "1")) == expected("1", "0")).all()
    classifier(("0", "1"), 1)  # counted, and there is one usual order of no and yes
    assert (decided(data()) == expected()).all()


def test_labels_are_called_as_the_classifier_calls_its_columns(data):
    for names in (("1", "0"), ("7", "3"), ("GOOD", "BAD")):
        classifier(names, -1)
        if names != ("1", "0"):
            with pytest.raises(UserError, match="under `classes`"):
                decided(data())
        classifier(names, -1, message="classes: ['yes', 'no']\n")
        with warnings.catch_warnings():
            warnings.simplefilter("error", ModelWarning)
            assert (decided(data()) == expected()).all()


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("int64", "u = Cast<to=7>(e) label = Add(u,i1)"),
        ("float", "u = Cast<to=7>(e) v = Add(u,i1) label = Cast<to=1>(v)"),
    ],
)
def test_labels_that_name_no_class_are_said_or_refused(data, kind, label):
    weights = TWO[:-1] + ", float[1] th = {0.5}>"
    graph = LABELLED.split("high =")[0] + label + " }"
    save(f"g (float[n,3] x) => ({kind}[n] label, float[n,2] prob) {weights}{graph}")
    names = "1.0, 2.0" if kind == "float" else "1, 2"
    with pytest.warns(ModelWarning, match=f"'label' contains {names}, and the classes of 'ill' are no, yes"):
        decided(data())
    if kind == "int64":
        save(f"g (float[n,3] x) => (int64[n] label) {weights}{graph}")
        with pytest.raises(UserError, match="'label' holds 1, 2, which are not the classes of 'ill'"):
            decided(data())


def test_classes_that_contradict_the_file_or_have_two_orders_are_refused(data):
    classifier(("yes", "no"), -1, message="classes: ['no', 'yes']\n")
    with pytest.raises(UserError, match="the file itself names its columns yes, no"):
        decided(data())
    classifier(("0", "1"), 1)
    with pytest.raises(UserError, match="two orders are common, bad, good and good, bad"):
        decided(data("paid", "bad"))
    classifier(("sick", "well"), 1)
    with pytest.raises(UserError, match="the model's classes are sick, well, those of 'ill' no, yes"):
        decided(data())


def test_one_column_is_the_probability_of_the_positive_class_whatever_its_name(data):
    save(f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}")
    assert (decided(data("paid", "bad")) == expected("bad", "good")).all()


def test_columns_of_text_and_numbers_keep_their_meaning_in_every_input(data):
    raw = data(features="[a, code, member, income]")
    save(
        "g (float[n,1] a, bool[n,1] member) => (float[n,1] o) <float[1] k = {3.0}, float[1] m = {-1.5}> "
        "{ f = Cast<to=1>(member) g2 = Mul(f,k) h = Add(g2,m) o2 = Add(h,a) o = Sigmoid(o2) }"
    )
    t = people()
    assert (decided(raw) == np.where(3 * (t.member == "yes") - 1.5 + t.a >= 0, "yes", "no")).all()
    save(
        "g (float[n,2] numbers, string[n,1] text) => (float[n,1] o) <float[2,1] w = {1.0,-1.0}> "
        '{ p = MatMul(numbers,w) s = ai.onnx.ml.LabelEncoder<keys_strings=["yes","no"],values_floats=[3.0,1.0],'
        "default_float=99.0>(text) q = Add(p,s) o = Sigmoid(q) }",
        message="inputs: {numbers: [a, code], text: member}\nactivation: none\n",
    )
    assert (
        decided(raw) == np.where(t.a - t.code + np.where(t.member == "yes", 3, 1) >= 0, "yes", "no")
    ).all()


def test_whole_numbers_that_an_input_rounds_are_said(data):
    raw = data(features="[a, income]")
    save(
        "g (float[n] a, float[n] income) => (float[n] o) { k = Constant<value_float=1e-8>() i = Mul(income,k) s = Add(a,i) "
        "o = Sigmoid(s) }"
    )
    with pytest.warns(ModelWarning, match="rounds whole numbers of the column 'income'"):
        decided(raw)


def run(*arguments, code=0):
    with pytest.raises(SystemExit) as stop:
        cli.main([*map(str, arguments)])
    assert stop.value.code == code


def test_the_table_and_the_printed_command_carry_the_positive_class(data, capsys):
    data("paid", "bad")
    save(f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}")
    for out in ("p.parquet", "p.csv"):
        run("predict", "m=m.onnx", "--data", "paid.yaml", "--out", out)
        assert f"fairpress audit {out} --baseline m --positive bad --by sex" in capsys.readouterr().out
    message = json.loads(pq.read_schema("p.parquet").metadata[b"fairpress.task"])
    assert message == {"label": "paid", "classes": ["good", "bad"], "positive": "bad"}


def test_predict_replaces_predictions_only(data, capsys):
    data()
    save(f"g (float[n,3] x) => (float[n,1] o) {ONE}{LOGISTIC}")
    for _ in range(2):
        run("predict", "m=m.onnx", "--data", "ill.yaml", "--out", "p.parquet")
    assert "p.parquet (replaced): " in capsys.readouterr().out
    run("predict", "m=m.onnx", "--data", "ill.yaml", "--out", "p.csv")
    run(
        "predict", "m=m.onnx", "--data", "ill.yaml", "--out", "p.csv", code=2
    )  # a note may have been put into it
    assert "add `--force` to replace it" in capsys.readouterr().err
    run("predict", "m=m.onnx", "--data", "ill.yaml", "--out", "p.csv", "--force")
    before = people().to_csv(index=False)
    run("predict", "m=m.onnx", "--data", "ill.yaml", "--out", "people.csv", "--force", code=2)
    assert "people.csv is an input of this command" in capsys.readouterr().err
    assert Path("people.csv").read_text(encoding="utf-8") == before


def test_sums_beside_one_are_said(data):
    save(
        "g (float[n,3] x) => (float[n,2] o) <float[3,2] w = {-1.5,1.5,1.0,-1.0,-0.5,0.5}, float[2] b = {-1.1,0.1}> "
        "{ p = MatMul(x,w) q = Add(p,b) o = Sigmoid(q) }",
        message="activation: none\n",
    )
    with pytest.warns(ModelWarning, match="and not to 1"):
        decided(data())


def encoder(keys, column="member"):
    listed = ",".join(f'"{k}"' for k in keys)
    numbers = ",".join("1.0" for _ in keys)
    save(
        f"g (float[n,1] a, string[n,1] {column}) => (float[n,1] o) "
        f"{{ s = ai.onnx.ml.LabelEncoder<keys_strings=[{listed}],values_floats=[{numbers}],default_float=0.0>({column}) "
        "q = Add(a,s) o = Sigmoid(q) }"
    )


def test_categories_that_the_file_does_not_know_are_said_and_refused_where_it_knows_none(data):
    raw = data(features="[a, member]")
    encoder(["yes", "no", "never"])
    assert open_external("m.onnx", raw).notes == ()
    encoder(["yes"])
    with pytest.warns(
        ModelWarning, match=r"values such as 'no' in \d+ of 600 rows that are not among the categories"
    ):
        decided(raw)
    encoder(["Yes", "No"])
    with pytest.raises(
        UserError, match=r"no value of the column 'member', such as 'no', is one of .* \('Yes', 'No'\)"
    ):
        decided(raw)
