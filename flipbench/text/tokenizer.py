"""A PLM's own tokenizer, as its ``tokenizer.json`` says and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flipbench.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model")
"""Any of the first two, or the pairs and models after them, make a tokenizer."""

_USUAL = {"mask": ("[MASK]", "<mask>"), "pad": ("[PAD]", "<pad>")}


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and what stands around its sentences.

    Text is data: a value that reads ``[SEP]`` is tokenised as those five characters, never as the special token.

    Attributes:
        name: how errors call it (a hub id, a folder).
        rust: the tokenizer, without truncation and padding.
        prefix: special token ids before a sentence: CLS for BERT, ``<s>`` for RoBERTa, none for T5.
        suffix: special token ids after it: SEP, ``</s>``, ``</s>``.
        known: ids of the mask and padding tokens that it has.
    """

    name: str
    rust: Tokenizer
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    known: dict[str, int]

    @cached_property
    def vocab_size(self) -> int:
        """One more than the highest token id."""
        return 1 + max(self.rust.get_vocab(with_added_tokens=True).values())

    @property
    def cls_id(self) -> int:
        """The first token of every sentence, whose state is the sentence's.

        Raises:
            UserError: there is none; so for :attr:`sep_id`, :attr:`mask_id` and :attr:`pad_id`.
        """
        return self.prefix[0] if self.prefix else self._lacks("cls")

    @property
    def sep_id(self) -> int:
        """The last token of every sentence."""
        return self.suffix[-1] if self.suffix else self._lacks("sep")

    @property
    def mask_id(self) -> int:
        return self.known["mask"] if "mask" in self.known else self._lacks("mask")

    @property
    def pad_id(self) -> int:
        return self.known["pad"] if "pad" in self.known else self._lacks("pad")

    def _lacks(self, role: str) -> int:
        raise UserError(f"tokenizer '{self.name}' has no {role} token")

    def pieces(self, texts: list[str]) -> list[Encoding]:
        """Tokens and character offsets of texts, in parallel, without the special tokens around a sentence."""
        encodings: list[Encoding] = self.rust.encode_batch(texts, add_special_tokens=False)
        return encodings

    def sentences(self, texts: list[str]) -> list[list[int]]:
        """Token ids of whole sentences, special tokens included."""
        return [encoding.ids for encoding in self.rust.encode_batch_fast(texts)]


def wrap(rust: Tokenizer, name: str, mask: str | None = None, pad: str | None = None) -> TextTokenizer:
    """A Rust tokenizer ready for prompts.

    Args:
        mask, pad: the tokens for these roles; by default the usual spellings that the vocabulary holds.
    """
    rust.no_truncation()
    rust.no_padding()
    rust.encode_special_tokens = True
    template = rust.encode("a")
    marks = template.special_tokens_mask
    inner = [i for i, special in enumerate(marks) if not special] or [len(marks)]
    known = {}
    for role, given in (("mask", mask), ("pad", pad)):
        candidates = (rust.token_to_id(token) for token in ((given,) if given else _USUAL[role]))
        if (token := next((c for c in candidates if c is not None), None)) is not None:
            known[role] = token
    return TextTokenizer(name, rust, tuple(template.ids[: inner[0]]), tuple(template.ids[inner[-1] + 1 :]), known)


def from_folder(folder: Path, name: str) -> TextTokenizer:
    """The tokenizer of a PLM's folder: ``tokenizer.json``, else what ``transformers`` makes of the older files.

    Raises:
        UserError: the folder holds no tokenizer, or one that cannot be read.
    """
    from tokenizers import Tokenizer

    if (folder / "tokenizer.json").is_file():
        try:
            rust = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises no narrower class
            raise UserError(f"{folder / 'tokenizer.json'}: cannot be read: {_line(error)}") from None
        named = _named(folder)
        return wrap(rust, name, named.get("mask_token"), named.get("pad_token"))
    if not any((folder / file).is_file() for file in FILES):
        raise UserError(f"{folder}: holds no tokenizer (tokenizer.json or vocab.txt)")
    from flipbench.text.quiet import quiet

    with quiet():
        from transformers import AutoTokenizer

        try:
            old = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            return wrap(old.backend_tokenizer, name, old.mask_token, old.pad_token)
        except Exception as error:  # whatever the tokenizer class raises at files it cannot read
            raise UserError(f"{folder}: its tokenizer cannot be read: {_line(error)}") from None


def _named(folder: Path) -> dict[str, str]:
    """The tokens that the folder names by role."""
    named: dict[str, str] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        try:
            content: Any = json.loads((folder / file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise UserError(f"{folder / file}: is not a JSON object") from None
        for role in ("mask_token", "pad_token"):
            token = content.get(role)
            token = token.get("content") if isinstance(token, dict) else token
            named |= {role: token} if isinstance(token, str) else {}
    return named


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
