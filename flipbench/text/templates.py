"""Prompts of several wordings from one token store: what is literal in a template is stored once, as a feature is.

A template says where the user's fields and the item's stand: ``{user}`` and ``{item}``, once each. Both expand to the
fields' pieces, ``field is value.``, in the table's order; what a row has beside both stands with the user's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from flipbench.data.store import values
from flipbench.data.table import Table
from flipbench.errors import UserError
from flipbench.text.prompt import halves, sentence
from flipbench.text.tokenizer import TextTokenizer
from flipbench.text.tokens import SAMPLE, TokenBatch, TokenStore

_SLOT = re.compile(r"\{(user|item)\}")


@dataclass(frozen=True)
class TemplateStore:
    """The prompts of a table in T templates.

    Attributes:
        store: the tokens of every feature, with the templates' literals after them.
        slots: [T, P] int64; a template's pieces in order: field f as f, piece i of the store as -1 - i.
    """

    store: TokenStore
    slots: Tensor

    @classmethod
    def build(
        cls, table: Table, tokenizer: TextTokenizer, templates: Sequence[str], sample: int = SAMPLE
    ) -> TemplateStore:
        """Tokenise every feature and every literal once.

        Args:
            sample: random rows to compare with the tokens of their whole sentences, each in every template.

        Raises:
            UserError: the tokenizer merges across pieces, or has no padding token; no field describes a side.
            ValueError: a template has not ``{user}`` and ``{item}`` once each.
        """
        store, sides = TokenStore.build(table, tokenizer), dict(zip(("user", "item"), halves(table), strict=True))
        before = len(store.starts) - 3
        literals: list[list[int]] = []
        slots: list[list[int]] = []
        for template in templates:
            parts = _SLOT.split(template)
            if sorted(parts[1::2]) != ["item", "user"]:
                raise ValueError(f"{template!r} has not {{user}} and {{item}} once each")
            pieces = [-1 - before]
            for n, part in enumerate(parts):
                if n % 2:
                    pieces += sides[part]
                elif part.strip():
                    pieces.append(-3 - before - len(literals))
                    literals.append(tokenizer.pieces([part.strip()])[0].ids)
            slots.append([*pieces, -2 - before])
        width = max(map(len, slots))
        padded = [[*pieces, *[-1] * (width - len(pieces))] for pieces in slots]  # piece 0, the mask feature's, is empty
        prompts = cls(_with(store, literals), torch.tensor(padded))
        prompts._compare(table, templates, sample)
        return prompts

    def lengths(self, ids: Tensor, template: Tensor) -> Tensor:
        """Tokens [B] int64 of the prompts of ids [B, F] in the templates [B] int64."""
        pieces = self._pieces(ids, template)
        return (self.store.starts[pieces + 1] - self.store.starts[pieces]).sum(1)

    def batch(self, ids: Tensor, template: Tensor) -> TokenBatch:
        """The prompts of ids [B, F] in the templates [B] int64, padded on the right."""
        return self.store.gather(self._pieces(ids, template), self.slots[template].clamp(min=-1))

    def _pieces(self, ids: Tensor, template: Tensor) -> Tensor:
        """[B, P], numbers of the store's pieces."""
        slots = self.slots[template]
        features = ids.to(slots.device, torch.int64).gather(1, slots.clamp(min=0))
        return torch.where(slots < 0, -1 - slots, features)

    def _compare(self, table: Table, templates: Sequence[str], sample: int) -> None:
        """Compare random rows with the tokens of their whole sentences."""
        tokenizer = self.store.tokenizer
        ids = np.asarray(table.ids[np.random.default_rng(0).integers(len(table), size=sample)])
        texts = values(table).take(ids.ravel() - 1).to_pylist()
        for number, template in enumerate(templates):
            batch = self.batch(torch.from_numpy(ids), torch.full((sample,), number))
            rows = [texts[start : start + len(table.fields)] for start in range(0, len(texts), len(table.fields))]
            sentences = [expand(table, template, row) for row in rows]
            for row, whole in enumerate(tokenizer.sentences(sentences)):
                if batch.tokens[row, : batch.lengths[row]].tolist() != whole:
                    raise UserError(
                        f"tokenizer '{tokenizer.name}' merges across a template's parts: the tokens of "
                        f"'{sentences[row]}' are not those of its parts"
                    )


@dataclass(frozen=True)
class Templated:
    """Reads every row in a template drawn for it in training; in scoring in the first, or in all of them.

    Attributes:
        store: the prompts of the table.
        average: whether scoring reads all.
    """

    store: TemplateStore
    average: bool

    def lengths(self, ids: Tensor) -> Tensor:
        return self.store.lengths(ids, torch.zeros(len(ids), dtype=torch.int64))

    def batch(self, ids: Tensor, training: bool) -> TokenBatch:
        """The prompts [B, L], or [B * T, L] with a row's T wordings together."""
        templates = len(self.store.slots)
        if training:
            return self.store.batch(ids, torch.randint(templates, (len(ids),)))
        if not self.average:
            return self.store.batch(ids, torch.zeros(len(ids), dtype=torch.int64))
        return self.store.batch(ids.repeat_interleave(templates, 0), torch.arange(templates).repeat(len(ids)))


def expand(table: Table, template: str, row: Sequence[str]) -> str:
    """The whole prompt of a row of values, one a field, in a template."""
    sides = {}
    for side, fields in zip(("user", "item"), halves(table), strict=True):
        sides[side] = sentence([table.fields[f] for f in fields], [row[f] for f in fields])
    return template.format(**sides)


def _with(store: TokenStore, literals: Sequence[Sequence[int]]) -> TokenStore:
    """The store with further pieces after its own, none of which has a value."""
    added = torch.tensor([token for literal in literals for token in literal], dtype=torch.int64)
    ends = store.starts[-1] + torch.tensor([len(literal) for literal in literals], dtype=torch.int64).cumsum(0)
    return replace(
        store,
        tokens=torch.cat([store.tokens, added.to(store.tokens.dtype)]),
        starts=torch.cat([store.starts, ends]),
        value_start=pad(store.value_start, (0, len(literals))),
        value_stop=pad(store.value_stop, (0, len(literals))),
    )
