"""A small BERT with the data's own vocabulary: no download, the same on every machine.

It has learnt nothing before pretraining. It stands in for a PLM in tests and in the quickstart, never in a table of
the paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flipbench.data.table import Table
from flipbench.text.prompt import value_chunks
from flipbench.text.tokenizer import TextTokenizer, wrap

if TYPE_CHECKING:
    from transformers import BertConfig

RECIPE: dict[str, Any] = {
    "version": 1,  # raised when the vocabulary's rule changes
    "words": 8192,
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "max_position_embeddings": 512,
}
"""What determines it beside the table and the seed of its weights."""

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def config(vocab_size: int) -> BertConfig:
    """BERT's configuration at this size; dropout 0.1, as in every checkpoint of the paper."""
    from transformers import BertConfig

    shape = {name: value for name, value in RECIPE.items() if name not in ("version", "words")}
    return BertConfig(vocab_size=vocab_size, pad_token_id=0, **shape)


def tokenizer(table: Table, further: Iterable[str] = ()) -> TextTokenizer:
    """WordPiece in lower case over the table's own words.

    The vocabulary: special tokens, every character, every pair of digits (so that ids of one table share their
    tokens), the words of the field names, and the most frequent words of the values, counted once a feature, ties
    in alphabetical order; and the words of ``further`` texts, where given.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    normalizer, splitter = BertNormalizer(), BertPreTokenizer()

    def words(text: str) -> list[str]:
        return [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]

    counts: Counter[str] = Counter()
    for f in range(len(table.fields)):
        for texts in value_chunks(table, f):
            counts.update(word for text in texts for word in text.split())
    split: Counter[str] = Counter()
    for text, count in counts.items():
        for word in words(text):
            split[word] += count
    names = sorted({word for field in table.fields for word in words(f"{field.words} is .")})
    names += sorted({word for text in further for word in words(text)} - {*names})
    characters = sorted({character for word in [*split, *names] for character in word})
    frequent = sorted((word for word in split if word.isalpha()), key=lambda word: (-split[word], word))
    starts = [*characters, *(f"{pair:02d}" for pair in range(100))]
    entries = [*SPECIAL, *starts, *(f"##{start}" for start in starts), *names, *frequent[: RECIPE["words"]]]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}

    rust = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - not a password
    rust.normalizer, rust.pre_tokenizer = normalizer, splitter
    rust.add_special_tokens(SPECIAL)
    rust.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    )
    return wrap(rust, "small")
