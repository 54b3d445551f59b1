"""Fixtures of the tests that read text: a table, tokenizers, and PLMs saved as ``transformers`` saves them."""

import os
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_text import VALUES, make_table, make_tokenizer

PLM = Path(os.environ.get("FLIPBENCH_PLM", ""))
needs_plm = pytest.mark.skipif("FLIPBENCH_PLM" not in os.environ, reason="FLIPBENCH_PLM names no folder of PLMs")

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
MODELS = {
    "bert": ("Bert", "ForMaskedLM", {**SHAPE, "max_position_embeddings": 80}),
    "roberta": ("Roberta", "Model", {**SHAPE, "max_position_embeddings": 66}),
    "distilbert": (
        *("DistilBert", "Model"),
        {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 80},
    ),
    "t5": ("T5", "Model", {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2}),
    "gpt2": ("GPT2", "Model", {"n_embd": 16, "n_layer": 1, "n_head": 2}),
}
"""Class, form and configuration by architecture."""


@pytest.fixture(scope="session")
def tiny():
    """``tiny(family)``: a tokenizer, trained once."""
    return cache(make_tokenizer)


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """Values that would hurt: dots at the end, quotes, accents, special tokens' names, an empty one."""
    return make_table(tmp_path_factory.mktemp("table"), VALUES)


@pytest.fixture(scope="session")
def folders(tmp_path_factory, tiny):
    """``folders(kind, tokenizer)``: writes a tiny PLM of an architecture with its tokenizer; returns its folder."""

    import transformers

    def write(kind="bert", tokenizer=None, half=False, **changes):
        tokenizer = tiny(tokenizer or ("byte-level" if kind == "roberta" else "wordpiece"))
        name, form, config = MODELS[kind]
        config = getattr(transformers, f"{name}Config")(**{"vocab_size": tokenizer.vocab_size, **config, **changes})
        model = getattr(transformers, name + form)(config)
        return save_plm(model.half() if half else model, tokenizer, tmp_path_factory.mktemp(kind))

    return write


def save_plm(model, tokenizer, folder):
    """Write a model and its tokenizer; returns the folder."""
    (folder / "tokenizer.json").write_text(tokenizer.rust.to_str(), encoding="utf-8")
    model.config.save_pretrained(folder)
    # clones: tied weights are written twice rather than by the library's own sharing
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def prompts(table, spec, rows=12):
    """The text of the first rows, of several lengths, under a PLM's tokenizer."""
    from flipbench.models.encoder import load_tokenizer
    from flipbench.text.tokens import TokenStore

    batch = TokenStore.build(table, load_tokenizer(spec, table)).batch(torch.from_numpy(table.ids[:rows].copy()))
    assert len(set(batch.lengths.tolist())) > 2
    return batch


SMALL_CONFIG = {
    **SHAPE,
    "max_position_embeddings": 128,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "embedding_size": 16,  # narrower than the hidden states where an architecture can have that
    "input_embedding_size": 16,
    "output_embedding_size": 16,
    "intra_bottleneck_size": 16,  # MobileBERT
    "true_hidden_size": 16,
    **dict.fromkeys(("emb_dim", "dim"), 32),  # XLM, DistilBERT
    **dict.fromkeys(("n_layers", "n_heads"), 2),
    "hidden_dim": 48,
    **{
        "block_sizes": [1, 1],
        "block_repeats": [1, 1],
        "d_model": 32,
        "n_head": 2,
        "d_head": 16,
        "d_inner": 48,
    },  # Funnel
    "num_decoder_layers": 1,
    **{"axial_pos_shape": [8, 16], "axial_pos_embds_dim": [16, 16], "attention_head_size": 16},  # Reformer
    **{"feed_forward_size": 48, "attn_layers": ["local", "lsh"]},
    "attention_window": [8, 8],  # Longformer
    **{"pronunciation_embed_dim": 8, "shape_embed_dim": 8},  # RoCBERT
    **{"entity_vocab_size": 8, "entity_emb_size": 16},  # LUKE
    "languages": ["en_XX"],  # X-MOD
    "default_language": "en_XX",
}
"""What makes any architecture's configuration small."""

WIDE_EMBEDDING = ("convbert", "roformer", "squeezebert")
"""Architectures whose ``embedding_size`` is their hidden size in every checkpoint."""


def small_config(architecture, tokenizer):
    """An architecture's configuration: two small layers, and the tokenizer's vocabulary and special tokens."""
    from transformers import AutoConfig

    declared = AutoConfig.for_model(architecture)
    special = {"cls": tokenizer.cls_id, "bos": tokenizer.cls_id, "eos": tokenizer.sep_id, "sep": tokenizer.sep_id}
    special |= {"mask": tokenizer.mask_id, "pad": tokenizer.pad_id}
    given = {name: value for name, value in SMALL_CONFIG.items() if hasattr(declared, name)}
    given |= {f"{role}_token_id": token for role, token in special.items() if hasattr(declared, f"{role}_token_id")}
    if architecture in WIDE_EMBEDDING:
        given["embedding_size"] = given["hidden_size"]
    if "block_sizes" in given:
        del given["num_hidden_layers"]
    return AutoConfig.for_model(architecture, vocab_size=tokenizer.vocab_size, **given)
