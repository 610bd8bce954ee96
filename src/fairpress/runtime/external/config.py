"""The schema of ``model.yaml``, which describes an external ONNX file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fairpress.core.values import spelling


def _to_text(value: Any) -> Any:
    """Convert YAML's 0, 1.5 and true to text, as in tables."""
    return spelling(value) if isinstance(value, (bool, int, float)) else value


def _to_list(value: Any) -> Any:
    """Convert a single number to a list of one."""
    return (value,) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _column_to_list(value: Any) -> Any:
    """Convert the name of a single column to a list of one."""
    return value if isinstance(value, (list, tuple, dict)) or value in (None, "encoded") else (value,)


Numbers = Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], BeforeValidator(_to_list)]
Text = Annotated[str, BeforeValidator(_to_text)]
Columns = Annotated[Literal["encoded"] | tuple[Text, ...], BeforeValidator(_column_to_list)]
Activation = Literal["none", "softmax", "sigmoid"]
Layout = Literal["nchw", "nhwc"]


class ExternalModelConfig(BaseModel):
    """Facts that an external ONNX file does not contain. Omitted fields are inferred if they are unambiguous.

    Attributes
    ----------
    columns
        Columns read by the model's only input: ``"encoded"`` (the dataset's numeric inputs, categories one-hot), or a list
        in order. Encoded columns have names such as ``race=Asian``.
    inputs
        For a model with several inputs: input → column of the dataset, or a list of columns. For texts: input →
        ``input_ids``, ``attention_mask`` or ``token_type_ids``.
    layout
        For images: channels before or after height and width.
    scale
        For images: divisor of pixel values from 0 to 255.
    mean, std
        Mean subtracted from, and divisor of, the columns or the channels of (scaled) images; one number or one for each.
    output
        The output of scores; a list if each class has its own output, in the order of `classes`; or the output of labels,
        which are then used as predictions, without scores.
    activation
        The activation that turns scores into probabilities; ``none`` if they are probabilities already.
    classes
        The classes in the order of the output.
    tokenizer
        For texts: the tokenizer.json of the model, relative to this file.
    max_length
        For texts: the longest sequence of token ids, special tokens included; longer texts lose their end.
    pad_id
        For texts: the token id that fills up shorter texts; only a model without an attention mask depends on it.
    threshold
        With two classes: the positive class is predicted if its probability is at least this.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: Columns | None = None
    inputs: dict[str, Text | tuple[Text, ...]] | None = None
    layout: Layout | None = None
    scale: float | None = Field(default=None, gt=0, le=1e30)
    mean: Numbers | None = None
    std: Numbers | None = None
    output: str | tuple[str, ...] | None = None
    activation: Activation | None = None
    classes: tuple[Text, ...] | None = None
    tokenizer: str | None = None
    max_length: int | None = Field(default=None, ge=1, le=2**16)
    pad_id: int | None = Field(default=None, ge=0, lt=2**31)
    threshold: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _check_consistency(self) -> ExternalModelConfig:
        if self.columns is not None and self.inputs is not None:
            raise ValueError("use `columns` for a model with one input, or `inputs` for one with several")
        if self.inputs is not None and (self.mean or self.std):
            raise ValueError("`mean` and `std` are for a model with one input")
        if (self.layout or self.scale) and (self.columns or self.inputs):
            raise ValueError("`layout` and `scale` are for images, `columns` and `inputs` for tables")
        if self.std is not None and any(s <= 0 for s in self.std):
            raise ValueError("every `std` must be above 0")
        texts = [n for n in ("tokenizer", "max_length", "pad_id") if getattr(self, n) is not None]
        others = [n for n in ("columns", "layout", "scale", "mean", "std") if getattr(self, n) is not None]
        if texts and others:
            raise ValueError(f"`{texts[0]}` is for models of texts, `{others[0]}` for other models")
        return self
