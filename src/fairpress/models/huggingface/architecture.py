"""The architecture of a Hugging Face model: its config.json, and how its input and outputs are used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Kind
from fairpress.models.channels import Channels

if TYPE_CHECKING:
    from torch import nn

    from fairpress.tokenization.tokenizer import TextTokenizer

# Keys of config.json that describe a file, a task or a run, and not the network.
NOT_OF_THE_NETWORK = (
    "_name_or_path",
    "_num_labels",
    "architectures",
    "attn_implementation",
    "dtype",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "label2id",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "problem_type",
    "return_dict",
    "task_specific_params",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "use_cache",
)


def network_config(config: Mapping[str, Any]) -> str:
    """Return the part of a config.json that describes the network, as JSON with sorted keys."""
    kept = {key: value for key, value in config.items() if key not in NOT_OF_THE_NETWORK}
    return json.dumps(kept, sort_keys=True)


def _as_text(value: Any) -> Any:
    return network_config(value) if isinstance(value, Mapping) else value


class HuggingFace(BaseModel):
    """A transformers model with a head for classifying sequences.

    With `folder` alone, the other fields are read from it.

    Attributes
    ----------
    config
        config.json without what does not concern the network, as JSON text; a mapping in cards.
    max_length
        The longest sequence of token ids, special tokens included; at most the positions that the network has.
    pad_id
        The token id that fills up shorter sequences; the network's attention mask leaves it out.
    outputs
        For each class, the position of its logit among the outputs of the transformers model; None: in order.
    one_logit
        Whether the transformers model has one logit, that of the second of two outputs; the first is 0.
    folder
        Where initial weights and the tokenizer are: a folder, or the name of a backbone. The model folder contains both,
        so it is not needed afterwards.
    channels
        Shapes of the tensors that pruning made smaller, from the card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = "huggingface"
    reads: ClassVar[Kind] = "text"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    # Pretrained weights are changed in smaller steps than random ones (Devlin et al. 2019, appendix A.3).
    training_defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 5e-5,
        "batch_size": 32,
        "max_epochs": 6,
        "weight_decay": 0.01,
    }

    config: Annotated[str, BeforeValidator(_as_text), PlainSerializer(json.loads, when_used="json")]
    max_length: int = Field(ge=1, le=65_536)
    pad_id: int = Field(ge=0)
    outputs: tuple[int, ...] | None = None
    one_logit: bool = False
    folder: str | None = Field(default=None, exclude=True)
    channels: Channels = Field(default=(), exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _read_folder(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "config" in values or not values.get("folder"):
            return values
        from fairpress.models.huggingface.folder import open_folder

        opened = open_folder(str(values["folder"]), values.get("max_length"))
        tokenizer = opened.tokenizer
        return {
            **values,
            "folder": str(opened.path),
            "config": opened.config,
            "max_length": tokenizer.max_length,
            "pad_id": tokenizer.pad_id,
        }

    def sized(self, tokenizer: TextTokenizer) -> HuggingFace:
        """Return the config for the ids of a tokenizer: the folder's own, or one with fewer pieces for trimmed tables."""
        update: dict[str, Any] = {"max_length": tokenizer.max_length, "pad_id": tokenizer.pad_id}
        if self.folder is None:
            sizes = {"vocab_size": tokenizer.max_id + 1, "pad_token_id": tokenizer.pad_id}
            update["config"] = network_config(json.loads(self.config) | sizes)
        return self.model_copy(update=update)

    def tokenizer(self) -> TextTokenizer:
        """Return the tokenizer of the folder. Raises UserError if it cannot be read."""
        from fairpress.models.huggingface.folder import open_folder

        return open_folder(self._require_folder(), self.max_length).tokenizer

    def build(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return the network: token ids [rows, length] int64 in, logits [rows, n_classes] out.

        The attention mask is computed from `pad_id`, and token type ids are zeros. The tensors have the names of the
        transformers model. Weights are drawn from torch's global generator; the caller seeds it.

        Raises
        ------
        MissingExtra
            transformers is not installed.
        UserError
            The installed transformers does not know the model.
        """
        from fairpress.models.huggingface.network import build_network
        from fairpress.models.pruned_shapes import apply_pruned_shapes

        network = build_network(
            json.loads(self.config),
            n_classes,
            pad_id=self.pad_id,
            outputs=self.outputs,
            one_logit=self.one_logit,
        )
        apply_pruned_shapes(network, dict(self.channels))
        return network

    def start(self, network: nn.Module) -> dict[str, Any]:
        """Load the folder's weights into a network from `build`, and return their provenance for the card.

        Tensors that the folder does not have, those of the classification head, keep their values.

        Raises
        ------
        UserError
            The weights cannot be read, or are those of another network.
        """
        if self.folder is None:
            return {}
        from fairpress.models.huggingface.weights import load_into

        return load_into(network, Path(self.folder))

    def _require_folder(self) -> str:
        if self.folder is None:
            raise UserError(
                "this Hugging Face model has no folder to read its tokenizer from; take the tokenizer of its model folder."
            )
        return self.folder
