"""The options of an audit: one model, the same for the function, the command line and studies."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import FrozenInstanceError, asdict, fields

import numpy as np
import pytest

import fairpress as fp
from fairpress.auditing.audit import audit
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.result import Margin
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.core.errors import UserError


def test_the_function_for_users_has_every_option_once_with_the_same_default():
    for function in (audit, fp.audit):
        parameters = dict(inspect.signature(function).parameters)
        del parameters["table"]
        assert list(parameters) == [f.name for f in fields(AuditOptions)]
        for field in fields(AuditOptions):
            default = parameters[field.name].default
            assert default is not inspect.Parameter.empty, field.name
            if default is not None:
                assert default == field.default, field.name


def test_options_are_normalized_and_cannot_be_changed():
    options = AuditOptions(by="sex", compressed=["int8"], pairs="sex=F|M", margin=np.float64(0.01))
    assert (options.by, options.compressed, options.pairs) == (("sex",), ("int8",), ("sex=F|M",))
    assert options.margin == {"default": Margin(0.01)}
    assert type(options.margin["default"].value) is float
    assert options.decide == options.bins == {}
    assert AuditOptions(by="a", decide=None).decide == {}
    with pytest.raises(FrozenInstanceError):
        options.margin = 0.5


def test_options_and_their_json_are_the_same_options():
    options = AuditOptions(
        by=["sex*race"],
        seed_column="seed",
        bins={"age": [25, 45]},
        correction="by",
        margin={"fnr": {"margin": "5% of baseline", "reason": "as the trial"}},
        min_rows={"fnr": 200},
    )
    assert AuditOptions(**asdict(options)) == options
    assert AuditOptions(**json.loads(json.dumps(asdict(options)))) == options
    assert pickle.loads(pickle.dumps(options)) == options


def test_an_option_that_does_not_exist_is_named():
    with pytest.raises(UserError, match=r"no option `confidense=`.*confidence"):
        AuditOptions(by="a", confidense=0.9)


def test_keys_are_the_columns_that_identify_repeated_rows():
    assert AuditOptions(by="a").keys == {}
    assert AuditOptions(by="a", subject="who").keys == {"subject": "who"}
    assert AuditOptions(by="a", seed_column="run", row_id="i").keys == {"seed": "run", "row": "i"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": []}, "name at least one sensitive attribute"),
        ({"by": [("sex", "race")]}, r"an intersection is one of them: `by=\['sex\*race'\]`"),
        ({"by": 3}, r"`by=` is a list of names, such as \['sex'\]"),
        ({"compressed": [8]}, r"`compressed=` is a list of names, such as \['int8'\]"),
        ({"label": None}, "`label=` is the name of one column"),
        ({"subject": ["a"]}, "`subject=` is the name of one column"),
        ({"decide": "int8>=1"}, "`decide=` is a dict"),
        ({"bins": [25]}, "`bins=` is a dict"),
        ({"margin": "2 %"}, "two readings"),
        ({"min_rows": 0.5}, "a number of rows"),
        ({"policy": 3}, "`policy=` is the path of a YAML file"),
        ({"margin": True}, "the margin is a number"),
        ({"margin": 0}, "the margin must be greater than 0"),
        ({"margin": 2}, "for 2 percentage points write 0.02"),
        ({"confidence": 95}, "did you mean 0.95"),
        ({"missing": "drop"}, "`missing=` must be group or refuse"),
        ({"correction": "none"}, f"one of {', '.join(CORRECTIONS)}"),
        ({"family": "all"}, "artifact or study"),
        ({"metrics": ["f1"]}, "accuracy, tpr, fpr and recall, not f1"),
        ({"metrics": []}, "an empty list"),
    ],
)
def test_an_option_out_of_range_is_refused_with_its_parameter(options, message):
    with pytest.raises(UserError, match=message):
        AuditOptions(**{"by": ["sex"], **options})
