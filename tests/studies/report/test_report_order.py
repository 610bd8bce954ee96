"""A study of several models: in what order they are told, and what each is compared with."""

from __future__ import annotations

import json

from fairpress.studies.config.network_facts import NetworkFacts
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.plan import plan_study
from fairpress.studies.report.build import model_sizes
from fairpress.studies.report.manifest import STUDY, manifest_text, read_study

TEXT = {
    "dataset": "compas",
    "models": {"second": "mlp", "first": {"name": "mlp", "widths": [8]}},
    "recipes": ["int8"],
    "seeds": 3,
    "audit": {"by": ["sex"]},
}


def test_a_folder_tells_its_study_in_the_order_it_was_written(tmp_path):
    config = StudyConfig.model_validate(TEXT)
    reported = {"name": "two", "command": "", "study": manifest_text(config)}
    (tmp_path / STUDY).write_text(json.dumps(reported))
    again = read_study(tmp_path).config
    assert again == config
    assert list(again.models) == ["second", "first"]


def test_each_network_is_so_many_times_smaller_than_its_own_baseline():
    layout = plan_study(StudyConfig.model_validate(TEXT), lambda d, fold: "f")
    for size in (4000, 900):
        facts = [
            NetworkFacts(
                recipe=recipe, seed=0, fold=0, bytes=size // times, gzip_bytes=size, sha256="", threshold=0.5
            )
            for recipe, times in (("fp32", 1), ("int8", 2))
        ]
        result = model_sizes("label", facts, layout)
        assert [(m.name, m.smaller) for m in result] == [("label: fp32", 1), ("label: int8", 2)]
