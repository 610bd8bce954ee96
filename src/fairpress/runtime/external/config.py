"""What a ``model.yaml`` may say of an ONNX file that was made elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fairpress.core.values import spelling


def _spelled(value: Any) -> Any:
    """Let YAML's 0, 1.5 and true stand for text, as they do in the table."""
    return spelling(value) if isinstance(value, (bool, int, float)) else value


Text = Annotated[str, BeforeValidator(_spelled)]
Columns = Literal["encoded"] | tuple[Text, ...]
Activation = Literal["none", "softmax", "sigmoid"]
Layout = Literal["nchw", "nhwc"]


class ExternalModelConfig(BaseModel):
    """What the file does not say itself. Whatever is left out is guessed where there is one answer only.

    Attributes
    ----------
    columns
        What the model's one input reads: ``"encoded"`` (the dataset's numbers, categories one-hot), or the columns in
        their order. Encoded columns are called ``race=Asian``.
    inputs
        For a model with several inputs: its input → the dataset's column, or a list of columns.
    layout
        For images: channels before height and width, or after them.
    scale
        For images: what pixel values from 0 to 255 are divided by.
    mean, std
        Subtracted from and divided into the columns, or the channels of (scaled) images.
    output
        The output that holds scores; a list where each class has an output of its own, in the order of `classes`; or the
        output of labels, whose decisions are then taken as they are, without scores.
    activation
        What turns it into probabilities: ``none`` when it holds probabilities already.
    classes
        The classes in the order of the output.
    threshold
        Two classes: the positive one is decided when its probability is at least this.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: Columns | None = None
    inputs: dict[str, Text | tuple[Text, ...]] | None = None
    layout: Layout | None = None
    scale: float | None = Field(default=None, gt=0, le=1e30)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    output: str | tuple[str, ...] | None = None
    activation: Activation | None = None
    classes: tuple[Text, ...] | None = None
    threshold: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> ExternalModelConfig:
        if self.columns is not None and self.inputs is not None:
            raise ValueError("say `columns` for a model with one input, or `inputs` for one with many")
        if self.inputs is not None and (self.mean or self.std):
            raise ValueError("`mean` and `std` are for a model with one input")
        if (self.layout or self.scale) and (self.columns or self.inputs):
            raise ValueError("`layout` and `scale` are for images, `columns` and `inputs` for tables")
        if self.std is not None and any(s <= 0 for s in self.std):
            raise ValueError("every `std` must be above 0")
        return self
