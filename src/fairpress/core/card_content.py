"""The schema of card.json: the type of everything that a later command reads."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from fairpress.core.output_kind import OutputKind

MAX_INTEGER = 2**63 - 1
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]


class _ExtensibleModel(BaseModel):
    """A model in which unknown keys may hold anything."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Architecture(_ExtensibleModel):
    name: str


class _Tokens(_ExtensibleModel):
    masked: bool
    pad_id: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None


class _Inputs(_ExtensibleModel):
    name: str | None = None
    shape: Annotated[list[Annotated[int, Field(ge=1, le=2**31)]], Field(max_length=8)] | None = None
    columns: list[str] | None = None
    dtype: str | None = None
    # Of several inputs in one, their names in order, or None by position; of token ids, what the mask follows from.
    parts: list[str | None] | None = None
    tokens: _Tokens | None = None
    # Of models that read texts.
    kind: str | None = None
    max_length: Annotated[int, Field(ge=1, le=2**16)] | None = None
    pad_id: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    tokenizer: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    truncated: Share | None = None

    @model_validator(mode="after")
    def _text_is_complete(self) -> Self:
        for name in ("max_length", "pad_id", "tokenizer") if self.kind == "text" else ():
            if getattr(self, name) is None:
                raise ValueError(f"`{name}` is missing, without which no text can be read")
        return self


class _Outputs(_ExtensibleModel):
    kind: OutputKind = "classes"
    names: Annotated[list[str], Field(max_length=2**16)] = Field(default_factory=list)
    thresholds: list[FiniteFloat] = Field(default_factory=list)
    size: Annotated[int, Field(ge=1, le=2**31)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.kind == "labels") != bool(self.names) or len(self.names) != len(self.thresholds):
            raise ValueError("`names` and `thresholds` have one entry for each of several labels")
        if len(set(self.names)) < len(self.names):
            raise ValueError("`names` names a label twice")
        if (self.kind == "embedding") != (self.size is not None):
            raise ValueError("`size` is the length of an embedding")
        return self


class _Data(_ExtensibleModel):
    name: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str | None = None
    path: str | None = None
    warnings: list[str] = Field(default_factory=list)


class _StartedFrom(_ExtensibleModel):
    file: str | None = None


class _Options(_ExtensibleModel):
    """Training options that fine-tuning keeps; repeating the training reads all of them with its own config."""

    class_weights: (
        Literal["balanced"] | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None
    ) = None
    flip: bool = False
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class _Training(_ExtensibleModel):
    """How a baseline was trained, for repeating or continuing it."""

    training: _Options = Field(default_factory=_Options)
    networks_in_batch: Count = 1
    device: Annotated[str, Field(pattern=r"^(cpu|mps|(cuda|xpu)(:[0-9]{1,3})?)$")] = "cpu"
    way: str | None = None
    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    curve: list[Annotated[list[float | None], Field(min_length=1)]] = Field(default_factory=list)
    started_from: _StartedFrom | None = None
    warnings: list[str] = Field(default_factory=list)
    validation_accuracy: float | None = None


class _Details(_ExtensibleModel):
    validation: dict[str, Any] = Field(default_factory=dict)
    sparsity: FiniteFloat | None = None
    float_layers: dict[str, Count] = Field(default_factory=dict)
    float_share: Share = 0.0
    # What channel pruning left of each layer, or how preserved channels were chosen.
    channels: dict[str, Any] | Literal["groups", "pooled", "random"] | None = None


class _Provenance(_Training):
    steps: list[dict[str, Any]] = Field(default_factory=list)
    details: _Details = Field(default_factory=_Details)
    origin: _Training = Field(default_factory=_Training)


class CardContent(BaseModel):
    """The whole document except its schema; no other key is allowed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    target: str
    classes: list[str]
    positive: str | None
    architecture: _Architecture
    inputs: _Inputs
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    threshold: FiniteFloat = 0.5
    outputs: _Outputs = Field(default_factory=_Outputs)
    data: _Data = Field(default_factory=_Data)
    recipe: str = "fp32"
    seed: Count | None = None
    baseline: str | None = None
    provenance: _Provenance = Field(default_factory=_Provenance)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kind = self.outputs.kind
        if bool(self.classes) != (kind == "classes"):
            raise ValueError(
                "`classes` is empty"
                if kind == "classes"
                else f"`classes` is for models of classes, and `outputs` is about {kind}"
            )
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("`classes` names a class twice")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"`positive` is {self.positive[:80]!r}, which is not one of `classes`")
        if self.activation == "sigmoid" and kind == "classes" and len(self.classes) != 2:
            raise ValueError("`activation` is sigmoid, which is for two `classes`")
        return self


def problem_of(model: type[BaseModel], document: object) -> str | None:
    """Return the first problem of a document; None if it is valid."""
    try:
        model.model_validate(document)
    except ValidationError as error:
        return first_problem(error)
    return None


def first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic reports, such as ```inputs.shape.0` must be a valid integer``."""
    detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
    message = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    field_path = ".".join(str(part)[:80] for part in detail["loc"])
    if detail["type"] == "missing":
        return f"`{field_path}` is missing"
    if detail["type"] == "extra_forbidden":
        return f"`{field_path}` is not a valid key"
    return f"`{field_path}` {message}" if field_path else message
