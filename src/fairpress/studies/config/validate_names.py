"""Check that the datasets, sensitive attributes, models, recipes and options named in a study exist.

Works on the document as written, so that these problems are reported together with those of its keys. Neither reads data
nor imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import chain
from typing import Any

from fairpress.core.config import ConfigError, ConfigSource, plain, validate
from fairpress.core.errors import UserError, did_you_mean
from fairpress.studies.config.study import DatasetChoice, ModelChoice

Path = tuple[Any, ...]


def check_names(source: ConfigSource) -> list[ConfigError]:
    """Return a problem for every name in the study that does not exist."""
    document = source.document
    return [
        *_recipes(source, document.get("recipes")),
        *_training(source, document, document.get("training"), ("training",)),
        *_models(source, document),
        *_datasets(source, document),
    ]


def _recipes(source: ConfigSource, recipes: Any) -> Iterator[ConfigError]:
    from fairpress.compression.recipes import parse

    for i, text in enumerate(recipes if isinstance(recipes, list) else ()):
        if isinstance(text, str):
            try:
                parse(text)
            except UserError as error:
                yield ConfigError.from_path(source, ("recipes", i), str(error))


def _training(
    source: ConfigSource, document: Mapping[str, Any], training: Any, path: Path
) -> Iterator[ConfigError]:
    from fairpress.models.registry import architectures_for
    from fairpress.training.config import CONFIGS

    if isinstance(training, Mapping):
        models = {name for _, name, _ in _named(document, "model", "models")}
        reads = [kind for kind in CONFIGS if models & set(architectures_for(kind))]
        yield from validate(CONFIGS[reads[-1] if reads else "table"], training, source, path)[1]


def _models(source: ConfigSource, document: Mapping[str, Any]) -> Iterator[ConfigError]:
    from fairpress.models.registry import config_class

    for path, name, given in _named(document, "model", "models"):
        options = {k: v for k, v in given.items() if k not in ModelChoice.model_fields}
        yield from _training(source, document, given.get("training"), (*path, "training"))
        try:
            kind = config_class(name)
        except UserError as error:
            yield ConfigError.from_path(source, (*path, "name"), str(error))
        else:
            yield from validate(kind, options, source, path)[1]


def _datasets(source: ConfigSource, document: Mapping[str, Any]) -> Iterator[ConfigError]:
    audit = document.get("audit")
    audit_by = audit.get("by") if isinstance(audit, Mapping) else None
    reported: set[str] = set()
    for path, name, given in _named(document, "dataset", "datasets"):
        options = {k: v for k, v in given.items() if k not in DatasetChoice.model_fields}
        yield from _training(source, document, given.get("training"), (*path, "training"))
        for key in ("folds", "fold"):
            if key in options:
                del options[key]
                yield ConfigError.from_path(
                    source,
                    (*path, key),
                    f"{key!r} is not an option of a dataset in a study; set `folds` of the study.",
                )
        try:
            attributes, problems = _attributes(source, path, name, options)
        except UserError as error:
            yield ConfigError.from_path(source, (*path, "name"), str(error))
            continue
        yield from problems
        dataset_by = given.get("by")
        checks = [
            _unknown_attributes(
                source,
                (*path, "by") if dataset_by else ("audit", "by"),
                dataset_by or audit_by,
                attributes,
                name,
            ),
            _unknown_to_recipes(source, document.get("recipes"), attributes, name),
            _unknown_to_mitigations(source, document.get("mitigations"), attributes, name),
        ]
        for problem in chain.from_iterable(checks):
            if problem.text not in reported:
                reported.add(problem.text)
                yield problem


def _attributes(
    source: ConfigSource, path: Path, name: str, options: Mapping[str, Any]
) -> tuple[Sequence[str] | None, list[ConfigError]]:
    """Return a dataset's sensitive attributes, None if they are known only from the data, and problems in its options."""
    from fairpress.core.config import not_a_mapping, read_yaml
    from fairpress.datasets.custom.from_yaml import kind_of
    from fairpress.datasets.registry import config_class

    if name.lower().endswith((".yaml", ".yml")):
        document = read_yaml(name)
        if not isinstance(document, Mapping):
            raise not_a_mapping(name, document)
        described: Any = copy(document)
        described.update(options)
        _, option_problems = validate(kind_of(document), described, ConfigSource(document, name))
        sensitive = plain(document.get("sensitive"))
        attributes = list(sensitive) if isinstance(sensitive, (list, dict)) else None
        return attributes, [ConfigError(source.position(path), p.text) for p in option_problems]
    kind = config_class(name)
    config, problems = validate(kind, options, source, path)
    if config is None and all(not field.is_required() for field in kind.model_fields.values()):
        config = kind()  # so that attributes are checked even if an option is wrong
    tell = getattr(config, "attribute_names", None)
    return (None if tell is None else tell()), problems


def _unknown_attributes(
    source: ConfigSource, path: Path, requested: Any, attributes: Sequence[str] | None, dataset: str
) -> Iterator[ConfigError]:
    if attributes is None or not isinstance(requested, list):
        return
    for i, text in enumerate(requested):
        for attribute in str(text).split("*"):
            if attribute.strip() not in attributes:
                yield ConfigError.from_path(
                    source,
                    (*path, i),
                    f"{dataset!r} has no sensitive attribute {attribute.strip()!r}."
                    + did_you_mean(attribute.strip(), attributes),
                )


def _unknown_to_recipes(
    source: ConfigSource, recipes: Any, attributes: Sequence[str] | None, dataset: str
) -> Iterator[ConfigError]:
    from fairpress.compression.recipes import parse

    for i, text in enumerate(recipes if isinstance(recipes, list) else ()):
        try:
            steps = parse(str(text)).steps
        except UserError:
            continue  # reported by `_recipes`
        for by in filter(None, (getattr(step, name, None) for step in steps for name in ("by", "protect"))):
            for problem in _unknown_attributes(source, (), [by], attributes, dataset):
                yield ConfigError.from_path(source, ("recipes", i), problem.text.partition(": ")[2])


def _unknown_to_mitigations(
    source: ConfigSource, mitigations: Any, attributes: Sequence[str] | None, dataset: str
) -> Iterator[ConfigError]:
    for label, choice in (mitigations if isinstance(mitigations, Mapping) else {}).items():
        if isinstance(choice, Mapping) and isinstance(choice.get("by"), str):
            for problem in _unknown_attributes(source, (), [choice["by"]], attributes, dataset):
                yield ConfigError.from_path(
                    source, ("mitigations", label, "by"), problem.text.partition(": ")[2]
                )


def _named(
    document: Mapping[str, Any], single: str, plural: str
) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Yield path, name and options of the valid entries below the keys `single` and `plural`."""
    entries: list[tuple[Path, Any]] = [((single,), document.get(single))]
    choices = document.get(plural)
    if isinstance(choices, Mapping):
        entries += [((plural, label), value) for label, value in choices.items()]
    elif isinstance(choices, list):
        entries += [((plural, i), value) for i, value in enumerate(choices)]
    for path, value in entries:
        if isinstance(value, str):
            yield path, value, {}
        elif isinstance(value, Mapping) and isinstance(value.get("name"), str):
            options = plain(value)
            yield path, options.pop("name"), options
