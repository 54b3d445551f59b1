"""Tokens stored once per feature; the tokens of a row are a gather by its ids.

A prompt is a concatenation of pieces, one a feature, and the tokenizers of BERT, RoBERTa and T5 never merge across
a piece's end: the piece's tokens, stored once, are those of the whole sentence. All pieces but the first field's
are tokenised with the space before them. Building compares random rows with their whole sentences.

A token belongs to a value when its characters overlap the value's. Byte-level BPE may merge a value's last
character with the full stop (``?.``), and then that token is the value's; the field's name and ``is`` never are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.text.prompt import opening, piece, sentences, value_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Encoding

    from flipbench.text.tokenizer import TextTokenizer

SAMPLE = 512
"""Rows that building compares with their whole sentences."""

_LONGEST_PIECE = (1 << 15) - 1  # spans are int16
_ROWS = 1 << 16


@dataclass(frozen=True)
class TokenBatch:
    """The prompts of B rows, each from CLS to SEP, padded on the right to the longest.

    Attributes:
        tokens: [B, L] int64.
        lengths: [B] int64, real tokens of each row, special ones included.
        field_of: [B, L] int64, the field whose value the token belongs to; -1 for names, "is", full stops, special
            tokens and padding.
    """

    tokens: Tensor
    lengths: Tensor
    field_of: Tensor

    @property
    def attention_mask(self) -> Tensor:
        """[B, L] bool, true at real tokens."""
        return torch.arange(self.tokens.shape[1], device=self.tokens.device) < self.lengths.unsqueeze(1)

    @property
    def first(self) -> Tensor:
        """[B] int64, where each row's CLS stands: row times L."""
        rows, length = self.tokens.shape
        return torch.arange(rows, device=self.tokens.device) * length


@dataclass(frozen=True)
class TokenStore:
    """The tokens of every feature of a table, ragged, on one device.

    12 bytes a feature beside 2 a token (4 where the vocabulary has more than 65,536 tokens). Two more pieces
    follow the features': what stands before a sentence and what stands after it. Feature 0, the mask, occurs in no row
    of a table; its piece is empty.

    Attributes:
        tokenizer: what made the tokens; it names the special ones.
        tokens: [T] int16, the bits of unsigned token ids; int32 for a large vocabulary.
        starts: [M + 3] int64; piece i is ``tokens[starts[i]:starts[i + 1]]``.
        value_start, value_stop: [M + 2] int16, the value's tokens within the piece.
    """

    tokenizer: TextTokenizer
    tokens: Tensor
    starts: Tensor
    value_start: Tensor
    value_stop: Tensor

    @classmethod
    def build(cls, table: Table, tokenizer: TextTokenizer, sample: int = SAMPLE) -> TokenStore:
        """Tokenise every feature of the table once.

        Args:
            sample: random rows to compare with the tokens of their whole sentences.

        Raises:
            UserError: the tokenizer merges across pieces, has no padding token, or a value is absurdly long.
        """
        dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.int32)
        parts = [_Part.of([[]], dtype)]  # feature 0
        for f, field in enumerate(table.fields):
            space = " " if f else ""
            begin = len(space + opening(field))
            for texts in value_chunks(table, f):
                encodings = tokenizer.pieces([space + piece(field, text) for text in texts])
                parts.append(_Part.of_values(encodings, begin, texts, dtype))
                if (longest := parts[-1].counts.max()) > _LONGEST_PIECE:
                    raise UserError(f"{table.name}: a value of '{field.name}' has {longest} tokens")
        parts.append(_Part.of([tokenizer.prefix, tokenizer.suffix], dtype))
        tokens = np.concatenate([part.tokens for part in parts])
        counts = np.concatenate([part.counts for part in parts])
        store = cls(
            tokenizer,
            tokens=torch.from_numpy(tokens.view(np.int16) if dtype == np.uint16 else tokens),
            starts=torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])),
            value_start=torch.from_numpy(np.concatenate([part.value_start for part in parts])),
            value_stop=torch.from_numpy(np.concatenate([part.value_stop for part in parts])),
        )
        _compare(store, table, sample)
        return store

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    @property
    def vocab_size(self) -> int:
        """One more than the highest token id of the tokenizer, used here or not."""
        return self.tokenizer.vocab_size

    @property
    def cls_id(self) -> int:
        """First token of every prompt; UserError where the tokenizer has none (T5), and so for the next three."""
        return self.tokenizer.cls_id

    @property
    def sep_id(self) -> int:
        """Last token of every prompt (``</s>`` for RoBERTa and T5)."""
        return self.tokenizer.sep_id

    @property
    def mask_id(self) -> int:
        return self.tokenizer.mask_id

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_id

    def lengths(self, ids: Tensor) -> Tensor:
        """Tokens [B] int64 of the prompts of ids [B, F], special ones included."""
        pieces = self._pieces(ids)
        return (self.starts[pieces + 1] - self.starts[pieces]).sum(1)

    def longest(self, ids: Tensor) -> int:
        """Tokens of the longest prompt among ids [B, F]."""
        return max(int(self.lengths(part).max()) for part in torch.split(ids, _ROWS))

    def batch(self, ids: Tensor) -> TokenBatch:
        """The prompts of ids [B, F], int32 or int64, on the store's device; see :meth:`gather`."""
        return self.gather(self._pieces(ids), torch.arange(-1, ids.shape[1] + 1, device=self.device))

    def gather(self, pieces: Tensor, fields: Tensor) -> TokenBatch:
        """Pieces end to end.

        One transfer to the host: the shape of the result depends on the pieces.

        Args:
            pieces: [B, P] int64, numbers of pieces: features, then what stands before a sentence and after it.
            fields: [P] or [B, P] int64, the field of each piece that is a feature's.
        """
        rows, width = pieces.shape
        begin = self.starts[pieces].flatten()
        counts = self.starts[pieces + 1].flatten() - begin
        lengths = counts.view(rows, width).sum(1)
        total, longest = torch.stack([lengths.sum(), lengths.max()]).tolist()

        # token t of the batch, rows end to end, is the within-th of its slot's piece
        slot = torch.arange(rows * width, device=self.device).repeat_interleave(counts, output_size=total)
        within = torch.arange(total, device=self.device) - (counts.cumsum(0) - counts)[slot]
        flat = self.tokens[begin[slot] + within].long()
        if self.tokens.dtype == torch.int16:
            flat &= 0xFFFF
        feature = pieces.flatten()
        of_value = (within >= self.value_start[feature][slot]) & (within < self.value_stop[feature][slot])
        field = torch.where(of_value, fields.expand(rows, width).flatten()[slot], -1)

        real = torch.arange(longest, device=self.device) < lengths.unsqueeze(1)
        tokens = torch.full((rows, longest), self.pad_id, device=self.device).masked_scatter_(real, flat)
        field_of = torch.full((rows, longest), -1, device=self.device).masked_scatter_(real, field)
        return TokenBatch(tokens, lengths, field_of)

    def _pieces(self, ids: Tensor) -> Tensor:
        """Numbers [B, F + 2] of the rows' pieces: before the sentence, the features', after it."""
        before = len(self.starts) - 3
        pieces = torch.nn.functional.pad(ids.to(self.device, torch.int64), (1, 1), value=before)
        pieces[:, -1] = before + 1
        return pieces


def check_length(store: TokenStore, ids: Tensor, max_positions: int) -> None:
    """Refuse rows that a PLM cannot read: cut prompts would lose fields.

    Args:
        ids: [N, F], all rows that will be read.
        max_positions: tokens that the PLM takes.

    Raises:
        UserError: some rows are longer; tells how many and by how much.
    """
    lengths = torch.cat([store.lengths(part) for part in torch.split(ids, _ROWS)])
    longer = int((lengths > max_positions).sum())
    if longer:
        raise UserError(
            f"tokenizer '{store.tokenizer.name}': {longer} of {len(lengths)} rows have more than the {max_positions} "
            f"tokens that the PLM takes (the longest {int(lengths.max())})"
        )


@dataclass(frozen=True)
class _Part:
    """Some consecutive pieces: tokens end to end, tokens of each, span of each one's value."""

    tokens: NDArray[Any]
    counts: NDArray[np.int64]
    value_start: NDArray[np.int16]
    value_stop: NDArray[np.int16]

    @classmethod
    def of(cls, pieces: list[Any], dtype: np.dtype[Any]) -> _Part:
        """Pieces of token ids without a value."""
        none = np.zeros(len(pieces), np.int16)
        return cls(np.array([*chain(*pieces)], dtype), np.array([*map(len, pieces)], np.int64), none, none)

    @classmethod
    def of_values(cls, encodings: list[Encoding], begin: int, values: list[str], dtype: np.dtype[Any]) -> _Part:
        """Pieces whose value begins at character ``begin``."""
        tokens = np.fromiter(chain.from_iterable(e.ids for e in encodings), dtype)
        counts = np.fromiter(map(len, encodings), np.int64, len(encodings))
        offsets = chain.from_iterable(chain.from_iterable(e.offsets for e in encodings))
        first, last = np.fromiter(offsets, np.int64, 2 * len(tokens)).reshape(-1, 2).T
        end = np.repeat(begin + np.fromiter(map(len, values), np.int64, len(values)), counts)
        # a token without characters of its own stands where it starts; an empty value has no tokens
        inside = (first < end) & (np.maximum(last, first + 1) > begin) & (end > begin)
        of_piece = np.repeat(np.arange(len(counts)), counts)
        before = np.bincount(of_piece[(first < begin) & ~inside], minlength=len(counts))
        inner = np.bincount(of_piece[inside], minlength=len(counts))
        return cls(tokens, counts, before.astype(np.int16), (before + inner).astype(np.int16))


def _compare(store: TokenStore, table: Table, sample: int) -> None:
    """Compare random rows of the table with the tokens of their whole sentences."""
    tokenizer = store.tokenizer
    rows = np.random.default_rng(0).integers(len(table), size=sample)
    ids = np.asarray(table.ids[rows])
    batch = store.batch(torch.from_numpy(ids))
    texts = sentences(table, ids)
    for row, whole in enumerate(tokenizer.sentences(texts)):
        ours = batch.tokens[row, : batch.lengths[row]].tolist()
        if ours != whole:
            same = next((i for i, (a, b) in enumerate(zip(ours, whole, strict=False)) if a != b), len(ours))
            counts = store.starts[ids[row] + 1] - store.starts[ids[row]]
            ends = len(tokenizer.prefix) + counts.cumsum(0).numpy()
            f = min(int(np.searchsorted(ends, same, side="right")), len(table.fields) - 1)
            raise UserError(
                f"tokenizer '{tokenizer.name}' merges across fields: at '{table.fields[f].words}', feature "
                f"{ids[row, f]} of {table.name}, the tokens of '{texts[row]}' are not those of its parts"
            )
