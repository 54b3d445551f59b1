"""P5 on the one task of CTR prediction: a T5 that answers "yes" or "no" (Geng et al., RecSys 2022)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from flipbench.methods.base import PLMMethod
from flipbench.methods.context import MethodContext
from flipbench.models import t5
from flipbench.models.click_model import ClickModel
from flipbench.plan.settings import Code, Guess, Range, Valid
from flipbench.text.collator import TextCollator
from flipbench.text.templates import Templated, TemplateStore
from flipbench.text.tokens import TokenBatch

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration

TEMPLATES = (
    "{user} {item} Will the user like the item?",
    "This is about one person: {user} And this about one item: {item} Is the item to the person's taste?",
    "Should the following item be recommended? {item} The user to recommend it to: {user}",
    "Given what is known of the item and of its user, predict whether the user is pleased. {item} {user}",
    "{user} What is on offer: {item} Is it a good choice for this user?",
)
"""Wordings of our own over all fields: the FLIP paper says "multiple templates" and gives none."""

ANSWERS = ("no", "yes")
"""What to say for label 0 and for label 1."""

WORDS = 512
"""Whole words of a prompt that are distinguished; all later ones share the last number (code)."""

_IGNORED = -100


class P5(PLMMethod):
    """A T5 that says "yes" or "no" to prompts of several wordings (Geng et al., RecSys 2022)."""

    version = 2
    settings = {
        "plm": Guess(
            "google-t5/t5-small@df1b051c49625cf57a3d0d8d3863ed4d13564fe4",
            "P5's small size (60M), at the commit that public code pins; the FLIP paper names no size",
        ),
        "templates_scored": Guess("first", "one fixed wording, or the mean logit of all", ("first", "average")),
        "whole_words": Code(True, "P5: an embedding of each token's word number is added to the token's"),
        "dropout": Code(0.1, "P5, as in T5's checkpoints; everywhere in it", Valid.SHARE, unkeyed=0.1),
        "learning_rate": Code(1e-3, "P5: AdamW", Valid.LEARNING_RATE),
        "adam_eps": Code(1e-6, "P5", Range(0.0, 1.0)),
        "weight_decay": Code(0.01, "P5; there on all but biases, here on all", Valid.PENALTY),
        "decay": Code("linear", "P5", ("none", "linear", "cosine")),
        "warmup": Code(0.05, "P5", Valid.SHARE),
        "clip": Code(1.0, "P5's launchers", Range(0.0, 1e6)),
        "batch_size": Code(128, "P5 small: 32 on each of 4 GPUs", Valid.ROWS),
        "max_epochs": Code(10, "P5", Valid.EPOCHS),
        "patience": Guess(3, "as for the other baselines; P5 keeps the epoch of best validation loss", Valid.EPOCHS),
        "precision": Guess("float32", "as the other methods", Valid.PRECISION),
    }
    grid = {  # about P5's own, downwards
        "learning_rate": [1e-4, 3e-4, 1e-3],
        "weight_decay": [0.0, 0.01],
        "dropout": [0.0, 0.1, 0.2],
    }

    @staticmethod
    def model(context: MethodContext, *, templates_scored: str, whole_words: bool, dropout: float = 0.1) -> ClickModel:
        tokens = _prompts(context).store.tokenizer
        starts = t5.word_starts(tokens) if whole_words else None
        seq2seq = t5.load(context.plm, tokens, seed=context.streams.seed_of("init", 2), dropout=dropout)
        return P5Model(seq2seq, t5.answer_tokens(tokens, ANSWERS), starts)

    @staticmethod
    def collator(context: MethodContext, *, templates_scored: str, **settings: Any) -> TextCollator:
        return Templated(_prompts(context), templates_scored == "average")


_stores: dict[tuple[str, str], TemplateStore] = {}


def _prompts(context: MethodContext) -> TemplateStore:
    """The table's prompts under the T5, built once a process."""
    key = (context.table.fingerprint, context.plm)
    if key not in _stores:
        tokens = t5.load_tokenizer(context.plm, context.table, [*TEMPLATES, *ANSWERS])
        _stores[key] = TemplateStore.build(context.table, tokens, TEMPLATES)
    return _stores[key]


class P5Model(ClickModel):
    """The logit is ln p(yes) - ln p(no) at the answer's first token, that of the softmax over the two words.

    Args:
        t5: any T5.
        answers: tokens of each of :data:`ANSWERS`, the end included.
        starts_word: [V] bool, tokens that begin a word; None for no embedding of whole words.
    """

    answers: Tensor
    starts_word: Tensor | None

    def __init__(
        self, t5: "T5ForConditionalGeneration", answers: Sequence[Sequence[int]], starts_word: Tensor | None
    ) -> None:
        super().__init__()
        self.t5, self.start, self.end = t5, int(t5.config.decoder_start_token_id), answers[0][-1]
        longest = max(map(len, answers))
        padded = [[*answer, *[_IGNORED] * (longest - len(answer))] for answer in answers]
        self.register_buffer("answers", torch.tensor(padded), persistent=False)
        self.register_buffer("starts_word", starts_word, persistent=False)
        self.whole_words = None if starts_word is None else nn.Embedding(WORDS, t5.config.d_model)

    def forward(self, ids: Tensor, text: TokenBatch) -> Tensor:
        """Logits [B], the mean over each row's wordings, from one step of the decoder."""
        first = self.answers.new_full((len(text.tokens), 1), self.start)
        scores = self.scores(text, first)[:, 0].float()
        no, yes = self.answers[:, 0].tolist()
        return (scores[:, yes] - scores[:, no]).view(len(ids), -1).mean(1)

    def loss(self, ids: Tensor, text: TokenBatch, labels: Tensor) -> Tensor:
        """Cross-entropy of the answer's tokens, teacher-forced: mean over its tokens, then over rows (code)."""
        said = self.answers[labels.long()]
        before = pad(said[:, :-1].clamp(min=0), (1, 0), value=self.start)
        scores = self.scores(text, before).float()
        losses = cross_entropy(scores.flatten(0, 1), said.flatten(), ignore_index=_IGNORED, reduction="none")
        return (losses.view_as(said).sum(1) / (said != _IGNORED).sum(1)).mean()

    def scores(self, text: TokenBatch, before: Tensor) -> Tensor:
        """Scores [B, n, V] of the token that follows each of ``before`` [B, n] in the answer."""
        scores: Tensor = self.t5(
            inputs_embeds=self.embed(text), attention_mask=text.attention_mask.long(), decoder_input_ids=before
        ).logits
        return scores

    def embed(self, text: TokenBatch) -> Tensor:
        """What the encoder reads [B, L, d]: a token's embedding, and beside it that of its word's number (code).

        Words count from 1; the end, which is of none, has 0.
        """
        embedded: Tensor = self.t5.shared(text.tokens)
        if self.starts_word is None or self.whole_words is None:
            return embedded
        word = self.starts_word[text.tokens].cumsum(1).clamp(max=WORDS - 1).masked_fill(text.tokens == self.end, 0)
        embedded = embedded + self.whole_words(word)
        return embedded
