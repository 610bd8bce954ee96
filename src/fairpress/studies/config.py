"""What a study's YAML may say, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fairpress.core.config import parse, read_yaml
from fairpress.core.errors import UserError, did_you_mean


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Named(BaseModel):
    """A registered thing by its name, with the options it takes: ``{name: compas, filter: none}``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class AuditConfig(_Strict):
    """How the predictions are audited; the words are those of `fairpress audit`."""

    by: tuple[str, ...] = Field(min_length=1)
    margin: float = Field(default=0.02, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    replicates: int = Field(default=10_000, ge=100)


class StudyConfig(_Strict):
    """A matrix of dataset × model × recipes × seeds × folds.

    Attributes
    ----------
    seeds
        Training seeds: a number S means 0 … S−1.
    folds
        Subject-wise folds; each seed trains one network per fold and every person is tested once per seed.
        1 means the dataset's own split.
    placebos
        Compare each recipe that trains also with the same extra training, uncompressed.
    networks_per_task
        How many networks are trained as one batch. It belongs to the study, not to the machine, so that
        results do not depend on the number of workers.
    """

    title: str = ""
    dataset: Named
    model: Named
    training: dict[str, Any] = Field(default_factory=dict)
    recipes: tuple[str, ...] = Field(min_length=1)
    placebos: bool = True
    seeds: tuple[int, ...] = (0,)
    folds: int = Field(default=1, ge=1, le=50)
    audit: AuditConfig
    device: str = "cpu"
    networks_per_task: int = Field(default=10, ge=1)

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("at least one seed is needed")
            return tuple(range(value))
        return value

    @field_validator("seeds", "recipes")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) < len(value):
            raise ValueError("the same entry stands here twice")
        return value

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        """Let ``dataset: compas`` stand for ``dataset: {name: compas}``."""
        if isinstance(data, dict):
            return {
                k: {"name": v} if k in ("dataset", "model") and isinstance(v, str) else v
                for k, v in data.items()
            }
        return data


def bundled() -> list[str]:
    """Return the names of the studies that ship with fairpress."""
    folder = resources.files("fairpress.studies") / "bundled"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load(name_or_path: str, overrides: Sequence[str] = ()) -> tuple[str, StudyConfig]:
    """Read a bundled study by name or a YAML file by path.

    Parameters
    ----------
    name_or_path
        ``"compas"`` or ``"my/study.yaml"``.
    overrides
        ``key=value`` with dots for inner keys (``audit.margin=0.01``); values are YAML.

    Returns
    -------
    The study's name (the file's stem) and its config.

    Raises
    ------
    UserError
        Unknown study; or every error of the file at once, with line and column.
    """
    if name_or_path in bundled():
        path = Path(str(resources.files("fairpress.studies") / "bundled" / f"{name_or_path}.yaml"))
        where = f"{name_or_path}.yaml"
    elif name_or_path.endswith((".yaml", ".yml")):
        path, where = Path(name_or_path), name_or_path
    else:
        raise UserError(
            f"there is no study {name_or_path!r}; give a bundled one or a YAML file."
            + did_you_mean(name_or_path, bundled())
        )
    document = read_yaml(path)
    for override in overrides:
        _override(document, override)
    return path.stem, parse(StudyConfig, document, where)


def _override(document: Any, text: str) -> None:
    """Set one ``key=value`` in the document."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"{text!r} is no override; write key=value, such as seeds=5 or audit.margin=0.01.")
    try:
        parsed = YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        raise UserError(f"{text!r}: the value is not YAML.") from None
    node = document
    *outer, last = key.split(".")
    for step in outer:
        if isinstance(node.get(step), str):
            node[step] = {"name": node[step]}
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise UserError(f"{text!r}: {step!r} holds no keys.")
    node[last] = parsed
