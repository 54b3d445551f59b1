"""Shared by the tests of the text half."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from tiny_text import VALUES, make_table, make_tokenizer

from flipbench.data.table import Table
from flipbench.text.tokenizer import TextTokenizer

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], TextTokenizer]:
    """Tokenizers by family, trained once."""
    made: dict[str, TextTokenizer] = {}

    def get(family: str) -> TextTokenizer:
        if family not in made:
            made[family] = make_tokenizer(family)
        return made[family]

    return get


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Values that would hurt: dots at the end, quotes, accents, special tokens' names, an empty one."""
    return make_table(tmp_path_factory.mktemp("table"), VALUES)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes tiny PLMs as ``transformers`` saves them: a model with its pooler or head, and its tokenizer."""
    transformers = pytest.importorskip("transformers")

    def write(kind: str = "bert", tokenizer: str = "wordpiece", half: bool = False, **config: Any) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        made = make_tokenizer(tokenizer)
        (folder / "tokenizer.json").write_text(made.rust.to_str(), encoding="utf-8")
        if kind == "bert":
            model = transformers.BertForMaskedLM(
                transformers.BertConfig(
                    **{"vocab_size": made.vocab_size, "max_position_embeddings": 80, **SHAPE, **config}
                )
            )
        elif kind == "roberta":
            roberta = {"vocab_size": made.vocab_size, "max_position_embeddings": 66, "pad_token_id": 1}
            model = transformers.RobertaModel(transformers.RobertaConfig(**roberta, **SHAPE))
        elif kind == "distilbert":
            own = {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 80}
            model = transformers.DistilBertModel(transformers.DistilBertConfig(vocab_size=made.vocab_size, **own))
        elif kind == "t5":
            own = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2}
            model = transformers.T5Model(transformers.T5Config(vocab_size=made.vocab_size, **own))
        else:
            own = {"n_embd": 16, "n_layer": 1, "n_head": 2}
            model = transformers.GPT2Model(transformers.GPT2Config(vocab_size=made.vocab_size, **own))
        model.config.save_pretrained(folder)
        # clones: tied weights are written twice rather than by the library's own sharing
        state = {name: t.clone().half() if half else t.clone() for name, t in model.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write
