"""T5s: what is loaded, what is refused, and how they say their answers."""

import pytest
import torch
from tiny_plm import PLM, needs_plm

from flipbench.errors import UserError
from flipbench.models import t5
from flipbench.train.weights import weights_sha256


@pytest.fixture(scope="module")
def tokens(table):
    return t5.load_tokenizer("small", table, ["yes", "no"])


def test_a_saved_t5_is_loaded_as_it_was(tokens, tmp_path):
    five, six = (t5.load("small", tokens, seed=seed) for seed in (5, 6))
    five.save_pretrained(tmp_path)
    again = t5.load(str(tmp_path), tokens)
    assert again.config.decoder_start_token_id == tokens.pad_id
    digests = [weights_sha256(model.state_dict()) for model in (five, again, six)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("t5", {"vocab_size": 9}, r"its tokenizer has \d+ tokens, its embedding 9 rows"),
        ("bert", {}, "'bert' is not a T5"),
    ],
)
def test_what_is_no_t5_or_has_a_foreign_tokenizer_is_named(kind, config, words, folders, tokens):
    with pytest.raises(UserError, match=words):
        t5.load(str(folders(kind, **config)), tokens)


def test_answers_must_begin_differently(tokens):
    with pytest.raises(UserError, match="begin with the same token"):
        t5.answer_tokens(tokens, ["yes", "yes"])


@needs_plm
def test_t5s_tokenizer_has_the_answers_and_marks_words():
    tokens = t5.load_tokenizer(str(PLM / "t5-small"))
    assert t5.answer_tokens(tokens, ["no", "yes"]) == [[150, 1], [4273, 1]]
    pieces = tokens.pieces(["Will the user like the incomprehensibly long item?"])[0]
    assert int(t5.word_starts(tokens)[torch.tensor(pieces.ids)].sum()) == 8 < len(pieces.ids)
