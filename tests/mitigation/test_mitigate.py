"""`mitigate`, from a model folder to its predictions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.mitigation.hash_uniform import hash_uniform
from fairpress.runtime.artifact import Artifact
from made_dataset import make_dataset


@pytest.fixture(scope="module")
def data():
    """A dataset in which one sex has noisier labels, so that its costs are higher."""
    created = make_dataset(3000)
    rng = np.random.default_rng(2)
    noisy = (created.attributes["sex"] == "Male") & (rng.random(3000) < 0.25)
    return replace(created, labels=np.where(noisy, 1 - created.labels, created.labels))


@pytest.fixture(scope="module")
def base(data):
    return fp.train("mlp", data, options={"widths": (8,)}, training={"max_epochs": 5, "learning_rate": 1e-2})


def test_predict_applies_what_the_folder_says(base, data, tmp_path):
    created = fp.mitigate(base, data=data, by="sex", cost="fnr", seed=3)
    folder = created.save(tmp_path / "ceo")
    raw = json.loads((folder / "mitigation.json").read_text())
    assert raw["method"] == "calibrated-equalized-odds"
    assert "unlawful" in raw["warning"]
    assert raw["fitted_on"]["rows"] == len(data.parts["validation"])
    table = fp.predict({"fp32": base, "ceo": str(folder)}, data).to_pandas()
    (moved,) = (g for g in raw["groups"] if g["mixing_rate"] > 0)
    assert moved["values"] == {"sex": "Female"}
    chosen = (table["sex"] == "Female") & (hash_uniform(3, list(table["row_id"])) < moved["mixing_rate"])
    assert chosen.sum() > 20
    assert table.loc[chosen, "ceo.score"].to_numpy() == pytest.approx(moved["base_rate"])
    assert (table["ceo"] == np.where(table["ceo.score"] >= 0.5, "yes", "no")).all()
    # Everybody else has the calibrated score, which keeps the order.
    males = table[table["sex"] == "Male"]
    assert (males["fp32.score"].rank() == males["ceo.score"].rank()).all()


def test_no_test_row_has_a_say(base, data):
    changed = data.labels.copy()
    changed[data.parts["test"]] = 1 - changed[data.parts["test"]]
    for method in ("calibrated-equalized-odds", "thresholds"):
        first = fp.mitigate(base, data=data, by="sex", method=method)
        other = fp.mitigate(base, data=replace(data, labels=changed), by="sex", method=method)
        assert first.mitigation == other.mitigation


def test_a_repair_fits_the_scores_of_one_file(base, data, tmp_path):
    small = fp.compress(base, "int8", data=data)
    created = fp.mitigate(small, data=data, by="sex")  # compress first, then calibrate and mitigate
    created.save(tmp_path / "int8-ceo")
    (tmp_path / "int8-ceo" / "model.onnx").write_bytes(base.onnx)
    with pytest.raises(UserError, match=r"another model\.onnx"):
        Artifact.load(tmp_path / "int8-ceo")
    with pytest.raises(UserError, match="compress the model without the mitigation"):
        fp.compress(fp.mitigate(base, data=data, by="sex"), "int8", data=data)
    with pytest.raises(UserError, match="already contains a mitigation"):
        fp.mitigate(created, data=data, by="sex")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"by": "sx"}, "no sensitive attribute 'sx'. Did you mean 'sex'"),
        ({"by": "sex*sex"}, "name an attribute"),
        ({"by": "sex", "cost": "tpr"}, "there is no cost 'tpr'"),
        (
            {"by": "sex", "constraint": "equalized_odds"},
            "does not take `constraint=`; it takes `calibration=` and `cost=`",
        ),
        ({"by": "sex", "method": "threshold"}, "Did you mean 'thresholds'"),
    ],
)
def test_what_is_wrong_is_said(base, data, options, sentence):
    with pytest.raises(UserError, match=sentence.replace("*", r"\*")):
        fp.mitigate(base, data=data, **options)
