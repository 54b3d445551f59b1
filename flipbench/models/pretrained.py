"""Checkpoints as ``transformers`` saves them: configuration and weights of a PLM's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from flipbench.errors import UserError
from flipbench.text.source import Source, folder_of, model_files

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Attention = Literal["sdpa", "eager"]

_DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),  # BERT, RoBERTa, ELECTRA, DeBERTa, ALBERT
    *("dropout", "attention_dropout"),  # DistilBERT
    *("embedding_dropout", "mlp_dropout"),  # ModernBERT
    "dropout_rate",  # T5
)

_READING = (OSError, ValueError, RuntimeError, KeyError, ImportError, TypeError)
"""What ``transformers`` raises at files that it cannot read."""


def read_config(source: Source) -> PretrainedConfig:
    """The configuration in a PLM's folder.

    Raises:
        UserError: no such PLM, or it lacks its configuration or weights.
    """
    from transformers import AutoConfig

    folder = folder_of(source)
    model_files(folder)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except _READING as error:
        raise _unreadable(source, error) from None
    return config


def read_weights(
    auto: Any, source: Source, config: PretrainedConfig, attention: Attention = "sdpa", **more: Any
) -> tuple[PreTrainedModel, list[str]]:
    """A model of a PLM's folder in float32, and the names of its tensors that the folder lacks, drawn at random.

    Args:
        auto: one of the ``AutoModel`` classes of ``transformers``.
        attention: ``sdpa`` where the architecture has it.
        more: arguments of the model's constructor.

    Raises:
        UserError: weights that cannot be read, or of other shapes than the configuration says.
    """
    folder = folder_of(source)
    weights = model_files(folder)[1:]
    try:
        model, info = auto.from_pretrained(
            str(folder),
            config=config,
            dtype=torch.float32,
            attn_implementation=attention_of(config, attention),
            use_safetensors=weights[0].suffix == ".safetensors",
            weights_only=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # named below
            **more,
        )
    except _READING as error:
        raise _unreadable(source, error) from None
    except Exception as error:
        if type(error).__module__.startswith(("safetensors", "_pickle")):  # damaged, or more than tensors
            raise _unreadable(source, error) from None
        raise
    for name, saved, wanted in sorted(info["mismatched_keys"]):
        shapes = f"{list(saved)} in its weights, {list(wanted)} by its config.json"
        raise UserError(f"PLM '{source.spec}': '{name}' is {shapes}: they do not belong together")
    loaded: PreTrainedModel = model
    return loaded, sorted(info["missing_keys"])


def refuse_missing(source: Source, missing: list[str]) -> None:
    """Refuse a PLM of which tensors are missing.

    Raises:
        UserError: there are some; names the first.
    """
    if missing:
        raise UserError(f"PLM '{source.spec}': its weights lack {len(missing)} tensors, '{missing[0]}' among them")


def set_dropout(config: PretrainedConfig, dropout: float | None) -> None:
    """Set every dropout of a model to be made from ``config``; None leaves them."""
    if dropout is not None:
        for name in _DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, dropout)


def attention_of(config: PretrainedConfig, wanted: Attention) -> Attention:
    """The plain formula where ``transformers`` has no fused attention for the architecture."""
    return wanted if model_class(config)._supports_sdpa else "eager"


def model_class(config: PretrainedConfig) -> Any:
    """The class of an architecture's model without a head."""
    from transformers import MODEL_MAPPING

    found: Any = MODEL_MAPPING[type(config)]
    return found[0] if isinstance(found, tuple) else found


def _unreadable(source: Source, error: Exception) -> UserError:
    return UserError(f"PLM '{source.spec}' cannot be loaded: {str(error).strip().partition(chr(10))[0]}")
