"""Small tables of any text, and small tokenizers of the three families, all made here."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from flipbench.data.table import Field, Table
from flipbench.text.tokenizer import TextTokenizer, wrap

WORDS = ("user id", "title", "genre")
ODD_TITLES = ("[MASK] </s> <mask>", "(500)", "日本の話")
VALUES = (
    ["1", "12", "1193", "6040", "99999"],
    ["Oh, God! (1977)", "Who's Afraid?", "Léon: Ünïcode", "Wait...", "ends in a dot.", *ODD_TITLES],
    ["Drama", "Children's", "Sci-Fi", "", "a  b", "☃", "K-12"],
)
FAMILIES = ("wordpiece", "byte-level", "unigram")


def make_table(
    folder: Path, vocabularies: Sequence[Sequence[str]], words: Sequence[str] = WORDS, rows: int = 200
) -> Table:
    """A table whose rows draw every field's values at random."""
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(
        pa.table({"value": [v for values in vocabularies for v in values]}), folder / "features.parquet"
    )
    offsets = np.cumsum([1, *map(len, vocabularies)])
    draw = np.random.default_rng(5)
    ids = np.stack([draw.integers(a, b, rows) for a, b in pairwise(offsets)], 1).astype(np.int32)
    fields = tuple(Field(w.replace(" ", "_"), w, "item" if f else "user") for f, w in enumerate(words))
    return Table("some-table", fields, ids, np.zeros(rows, np.uint8), offsets, folder, "0" * 64, {})


def make_tokenizer(family: str) -> TextTokenizer:
    """One of the families, its vocabulary trained on the values."""
    texts = [f"{w} is {v}." for w, values in zip(WORDS, VALUES, strict=True) for v in values] * 3
    trainer: trainers.Trainer
    if family == "wordpiece":
        special, single = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS] $A [SEP]"
        rust = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        rust.normalizer = normalizers.BertNormalizer()
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    elif family == "byte-level":
        special, single = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>"
        rust = Tokenizer(models.BPE())
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
        trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=special, show_progress=False, **alphabet)
    else:
        special, single = ["<pad>", "</s>", "<unk>"], "$A </s>"
        rust = Tokenizer(models.Unigram())
        rust.normalizer = normalizers.NFKC()
        rust.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
        unknown = {"unk_token": "<unk>"}
        trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=special, show_progress=False, **unknown)
    rust.train_from_iterator(texts, trainer)
    around = [(token, rust.token_to_id(token)) for token in single.split() if token != "$A"]
    rust.post_processor = processors.TemplateProcessing(single=single, special_tokens=around)
    return wrap(rust, f"tiny {family}")
