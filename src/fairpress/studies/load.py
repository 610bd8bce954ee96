"""Read a bundled study or a YAML file with overrides, and report all its problems at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from fairpress.core.config import ConfigSource, not_a_mapping, raise_all, read_yaml, validate
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.yaml_file import parse_yaml
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.config.validate_names import check_names
from fairpress.studies.planning.claim_tasks import claim_problems


def bundled_studies() -> list[str]:
    """Return the names of the studies that ship with fairpress."""
    folder = resources.files("fairpress.studies") / "bundled"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load(
    name_or_path: str, overrides: Sequence[str] = (), data: str | None = None
) -> tuple[str, StudyConfig]:
    """Read a bundled study by name or a YAML file by path.

    Parameters
    ----------
    name_or_path
        ``"compas"`` or ``"my/study.yaml"``.
    overrides
        ``key=value`` with dots for inner keys (``audit.margin=0.01``); values are YAML. A dataset that is a YAML
        file is relative to the folder of the study; one in an override is relative to the working folder.
    data
        Replaces the dataset of the study: one of its `choices`, or the name of any dataset.

    Returns
    -------
    The study's name (the file's stem) and its config.

    Raises
    ------
    UserError
        The study is unknown, or the file has problems: all are listed with line and column, in keys and values and in
        names and options of datasets, attributes, models and recipes.
    """
    if name_or_path in bundled_studies():
        path = Path(str(resources.files("fairpress.studies") / "bundled" / f"{name_or_path}.yaml"))
        source_name = f"{name_or_path}.yaml"
    elif name_or_path.endswith((".yaml", ".yml")):
        path, source_name = Path(name_or_path), name_or_path
    else:
        raise UserError(
            f"unknown study {name_or_path!r}; give the name of a bundled study or a YAML file."
            + did_you_mean(name_or_path, bundled_studies())
        )
    document = read_yaml(path)
    if not isinstance(document, Mapping):
        raise not_a_mapping(source_name, document)
    _resolve(document, path.parent)
    if data is not None:
        _choose(document, data, source_name)
    source = _overridden(document, overrides, source_name)
    config, problems = validate(StudyConfig, source.document, source)
    problems = [*problems, *check_names(source)]
    if config is not None and not problems:
        problems += claim_problems(source, config)
    raise_all(problems)
    assert config is not None
    return path.stem, config


def _choose(document: Any, data: str, source_name: str) -> None:
    """Replace the dataset of the study."""
    if "datasets" in document:
        raise UserError(
            f"`data=` cannot replace the several datasets of {source_name}; choose one of them with `only='dataset={data}'`."
        )
    choices = document.get("choices")
    choice = choices.get(data) if isinstance(choices, Mapping) else None
    if not isinstance(choice, Mapping):
        document["dataset"] = {"name": data}
        return
    attributes = choice.get("attributes", {})
    if not isinstance(attributes, Mapping):
        raise UserError(f"{source_name}: `choices.{data}.attributes` must be a mapping of lines `old: new`.")
    for old, new in attributes.items():
        for key in ("recipes", "mitigations", "phases", "published", "claims"):
            if key in document:
                document[key] = _renamed(document[key], str(old), str(new))
    document.update({k: v for k, v in choice.items() if k != "attributes"})


def _renamed(node: Any, old: str, new: str) -> Any:
    """Replace one sensitive attribute by another below keys ``by`` and, written ``by=``, in recipes."""
    if isinstance(node, dict):
        for key, value in list(node.items()):
            node[key] = new if key == "by" and value == old else _renamed(value, old, new)
            if _renamed(key, old, new) != key:
                node[_renamed(key, old, new)] = node.pop(key)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            node[i] = _renamed(value, old, new)
    elif isinstance(node, str):
        return re.sub(rf"\bby={re.escape(old)}\b", lambda _: f"by={new}", node)
    return node


def _resolve(document: Any, folder: Path) -> None:
    """Resolve datasets that are YAML files relative to the folder of the study."""
    datasets = document.get("datasets")
    holders: list[tuple[Any, Any]] = [(document, "dataset")]
    if isinstance(datasets, (dict, list)):
        holders += [(datasets, k) for k in (datasets if isinstance(datasets, dict) else range(len(datasets)))]
    for holder, key in holders:
        value = holder.get(key) if isinstance(holder, dict) else holder[key]
        if isinstance(value, dict):
            holder, key, value = value, "name", value.get("name")
        if isinstance(value, str) and value.lower().endswith((".yaml", ".yml")):
            holder[key] = str(folder / value)


def _overridden(document: Any, overrides: Sequence[str], source_name: str) -> ConfigSource:
    """Set every ``key=value`` in the document."""
    overridden: dict[tuple[str, ...], str] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(
                f"{text!r} is not an override; write key=value, such as seeds=5 or audit.margin=0.01."
            )
        parsed = parse_yaml(value, f"the override {text[:80]!r}")
        path = tuple(key.split("."))
        _set(document, path, parsed, text)
        overridden[path] = text
    return ConfigSource(document, source_name, overridden)


def _set(node: Any, path: Sequence[str], value: Any, text: str) -> None:
    for step in path[:-1]:
        if isinstance(node.get(step), str):
            node[step] = {"name": node[step]}  # dataset: compas, dataset.filter=none
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise UserError(f"cannot apply the override {text!r}: {step!r} is not a mapping.")
    node[path[-1]] = value
