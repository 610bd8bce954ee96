"""The JSON Schema of a study's YAML for editors, including names and options of everything registered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from pydantic import BaseModel

from fairpress.datasets import registry as datasets
from fairpress.models import registry as models
from fairpress.studies.config.study import StudyConfig
from fairpress.training.config import FitConfig, ImageFitConfig, TextFitConfig


def schema() -> dict[str, Any]:
    """Return the schema; what it cannot express, such as a dataset's attributes, is left to `fairpress study check`."""
    study_schema = StudyConfig.model_json_schema()
    # Some keys are only for models of images or texts; where several configs have a key, that of tables defines its default.
    training = {**ImageFitConfig.model_json_schema(), "description": "How the baselines are trained."}
    of_texts, of_tables = (kind.model_json_schema()["properties"] for kind in (TextFitConfig, FitConfig))
    training["properties"] = {**of_texts, **training["properties"], **of_tables}
    study_schema["properties"]["training"] = training
    for key in ("datasets", "models"):
        study_schema["properties"][key]["anyOf"][0]["additionalProperties"] = False
    common = {"by": {"type": "array", "items": {"type": "string"}, "minItems": 1}, "training": training}
    path = {"type": "string", "pattern": r"\.ya?ml$", "description": "A YAML file that describes a table."}
    own_table = {"type": "object", "properties": {"name": path, **common}, "required": ["name"]}
    dataset = _choice(datasets.names(), datasets.config_class, common, excluded=("folds", "fold"))
    study_schema["$defs"]["DatasetChoice"] = {"anyOf": [*dataset, path, own_table]}
    model = _choice(models.names(), models.config_class, {"training": training})
    study_schema["$defs"]["ModelChoice"] = {"anyOf": model}
    study_schema["allOf"] = [
        {"oneOf": [{"required": [key]}, {"required": [f"{key}s"]}]} for key in ("dataset", "model")
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "fairpress.study/1",
        **study_schema,
        "title": "A fairpress study",
    }


def _choice(
    names: Collection[str],
    config_class: Callable[[str], type[BaseModel]],
    extra_properties: dict[str, Any],
    excluded: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return the schemas of a name, alone or with its options."""
    options: list[dict[str, Any]] = [{"enum": list(names)}]
    for name in names:
        option_schema = config_class(name).model_json_schema()
        fields = {k: v for k, v in option_schema.get("properties", {}).items() if k not in excluded}
        options.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}, **fields, **extra_properties},
                "required": ["name", *option_schema.get("required", [])],
                "additionalProperties": False,
                **({"$defs": option_schema["$defs"]} if "$defs" in option_schema else {}),
            }
        )
    return options
