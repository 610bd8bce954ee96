"""The JSON Schema of a study's YAML for editors, including names and options of everything registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from fairpress.datasets import registry as datasets
from fairpress.models import registry as models
from fairpress.studies.config.study import StudyConfig
from fairpress.training.config import FitConfig, ImageFitConfig

LABELS = "^[A-Za-z0-9][A-Za-z0-9_.-]*$"


def schema() -> dict[str, Any]:
    """Return the schema; what it cannot express, such as a dataset's attributes, is left to `fairpress study check`."""
    study_schema = StudyConfig.model_json_schema()
    definitions = {
        k: v
        for k, v in study_schema.pop("$defs").items()
        if k
        in (
            "AuditConfig",
            "Contrast",
            "SizeAccuracyBias",
            "Published",
            "MitigationChoice",
            "Claim",
            "PublishedRates",
        )
    }
    for key in ("of", "against"):
        definitions["Claim"]["properties"][key] = {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": "Filters with the words of --only, such as recipe=int8"
            + ("; or baseline, placebo, plain." if key == "against" else "."),
        }
    properties = study_schema["properties"]
    # Some keys are only for image models; where both configs have a key, the table config defines its default.
    training = {**ImageFitConfig.model_json_schema(), "description": "How the baselines are trained."}
    training["properties"] |= FitConfig.model_json_schema()["properties"]
    common = {"by": {"type": "array", "items": {"type": "string"}, "minItems": 1}, "training": training}
    dataset = _choice(datasets.names(), datasets.config_class, common, excluded=("folds", "fold"))
    dataset["anyOf"] += [
        {"type": "string", "pattern": r"\.ya?ml$", "description": "A YAML file that describes a table."},
        {
            "type": "object",
            "properties": {"name": {"type": "string", "pattern": r"\.ya?ml$"}, **common},
            "required": ["name"],
        },
    ]
    definitions["dataset"] = dataset
    definitions["model"] = _choice(models.names(), models.config_class, {"training": training})
    properties["training"] = training
    for key in ("dataset", "model"):
        reference = {"$ref": f"#/$defs/{key}"}
        properties[key] = reference
        properties[f"{key}s"] = {
            "anyOf": [
                {"type": "object", "additionalProperties": reference, "propertyNames": {"pattern": LABELS}},
                {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            ],
            "description": f"Several: label → {key}.",
        }
    properties["seeds"] = {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 1,
                "uniqueItems": True,
            },
        ],
        "description": "Training seeds: a number S means 0 … S−1.",
    }
    study_schema["allOf"] = [
        {"oneOf": [{"required": [key]}, {"required": [f"{key}s"]}]} for key in ("dataset", "model")
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "fairpress.study/1",
        **study_schema,
        "title": "A fairpress study",
        "$defs": definitions,
    }


def _choice(
    names: Iterable[str],
    config_class: Callable[[str], type[BaseModel]],
    extra_properties: dict[str, Any],
    excluded: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the schema of a name, alone or with its options."""
    options: list[dict[str, Any]] = [{"enum": list(names)}]
    for name in names:
        option_schema = config_class(name).model_json_schema()
        fields = {k: v for k, v in option_schema.get("properties", {}).items() if k not in set(excluded)}
        options.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}, **fields, **extra_properties},
                "required": ["name", *option_schema.get("required", [])],
                "additionalProperties": False,
                **({"$defs": option_schema["$defs"]} if "$defs" in option_schema else {}),
            }
        )
    return {"anyOf": options}
