"""P5: one score by three ways of decoding, its loss, and what it reads; see also the contract of all such methods."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_clicks import make_table

from baselines.p5 import ANSWERS, TEMPLATES, P5Model
from flipbench.errors import UserError
from flipbench.models import t5
from flipbench.plan import registry
from flipbench.text.templates import Templated, TemplateStore
from flipbench.text.tokens import TokenBatch
from flipbench.train.id_models import weights_sha256

PLM = os.environ.get("FLIPBENCH_PLM", "")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("clicks"), rows=100)


@pytest.fixture(scope="module")
def tokens(table):
    return t5.load_tokenizer("small", table, [*TEMPLATES, *ANSWERS])


@pytest.fixture(scope="module")
def store(table, tokens):
    return TemplateStore.build(table, tokens, TEMPLATES)


def build(tokens, seed=0, words=True, dropout=None):
    torch.manual_seed(seed)
    starts = t5.word_starts(tokens) if words else None
    return P5Model(t5.load("small", tokens, seed=seed, dropout=dropout), t5.answer_tokens(tokens, ANSWERS), starts)


def some(store, table, rows=12):
    ids = torch.from_numpy(table.ids[:rows].copy())
    return ids, store.batch(ids, torch.arange(rows) % len(TEMPLATES))


@pytest.mark.parametrize("words", [True, False])
def test_the_score_is_the_same_however_it_is_decoded(store, tokens, table, words):
    model = build(tokens, words=words).eval()
    ids, text = some(store, table)
    no, yes = (answer[0] for answer in t5.answer_tokens(tokens, ANSWERS))
    with torch.inference_mode():
        ours = model(ids, text).sigmoid()
        forced = []
        for answer in model.answers.tolist():  # teacher-forced on either whole answer
            before = torch.tensor([[model.start, *answer[:-1]]]).expand(len(ids), -1)
            first = model.scores(text, before)[:, 0]
            forced.append(first[:, [no, yes]].softmax(1)[:, 1])
        made: Any = model.t5.generate(  # type: ignore[operator]
            inputs_embeds=model.embed(text),
            attention_mask=text.attention_mask.long(),
            max_new_tokens=1,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
    assert ours.std() > 1e-3
    for other in (*forced, made.logits[0][:, [no, yes]].softmax(1)[:, 1]):
        torch.testing.assert_close(other, ours, atol=2e-6, rtol=1e-5)


def test_the_loss_is_that_of_transformers(store, tokens, table):
    model = build(tokens).eval()
    ids, text = some(store, table)
    labels = torch.arange(len(ids)) % 2
    reference: Any = model.t5(
        inputs_embeds=model.embed(text), attention_mask=text.attention_mask.long(), labels=model.answers[labels]
    )
    torch.testing.assert_close(model.loss(ids, text, labels.float()), reference.loss)
    assert model.answers[:, -1].tolist() == [tokens.sep_id] * 2


def test_a_shorter_answer_weighs_as_much_as_a_longer_one(store, tokens, table):
    torch.manual_seed(0)
    model = P5Model(t5.load("small", tokens, dropout=0.0), [[7, 3], [9, 11, 12, 3]], None)
    ids, text = some(store, table, 2)
    both = model.loss(ids, text, torch.tensor([0.0, 1.0]))
    each = [
        model.loss(ids[r : r + 1], store.batch(ids[r : r + 1], torch.tensor([r])), torch.tensor([float(r)]))
        for r in (0, 1)
    ]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)


def test_words_are_numbered_as_they_begin(tokens):
    model = build(tokens)
    assert model.starts_word is not None
    assert model.whole_words is not None
    text = "genre is comedy."
    row = torch.tensor([tokens.sentences([text])[0]])  # [CLS] genre is comedy . [SEP]
    assert model.starts_word[row].all()
    assert int(row[0, -1]) == tokens.sep_id
    number = torch.tensor([[1, 2, 3, 4, 5, 0]])  # P5's calculate_whole_word_ids gives its end token 0
    split = torch.tensor([tokens.pieces(["user id is 12345."])[0].ids])
    counts = [len(t) - len(t.lstrip("#")) == 2 for t in tokens.pieces(["user id is 12345."])[0].tokens]
    assert any(counts)
    assert (~model.starts_word[split[0]]).tolist() == counts
    batch = TokenBatch(row, torch.tensor([6]), torch.full_like(row, -1))
    expected = model.t5.shared(row) + model.whole_words(number)
    assert torch.equal(model.embed(batch), expected)


def test_all_wordings_score_as_their_mean(store, tokens, table):
    model = build(tokens).eval()
    ids = torch.from_numpy(table.ids[:6].copy())
    with torch.inference_mode():
        every = model(ids, Templated(store, True).batch(ids, False))
        single = [model(ids, store.batch(ids, torch.full((6,), t))) for t in range(len(TEMPLATES))]
        first = model(ids, Templated(store, False).batch(ids, False))
    torch.testing.assert_close(every, torch.stack(single).mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first, single[0], atol=1e-5, rtol=1e-5)
    assert (every - first).abs().max() > 1e-3


def test_declarations_are_read_without_importing():
    found = registry._from_source("baselines.p5:P5")
    assert found == registry._from_class("baselines.p5:P5")
    assert registry.get("p5").kind == "plm"
    assert set(registry.get("p5").guesses) >= {"plm", "templates_scored"}


def test_a_plm_that_is_no_t5_or_has_a_foreign_tokenizer_is_named(tokens, tmp_path):
    import transformers

    own = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2}
    model: Any = transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=9, **own))
    model.save_pretrained(tmp_path / "t5")
    with pytest.raises(UserError, match=r"its tokenizer has \d+ tokens, its embedding 9 rows"):
        t5.load(str(tmp_path / "t5"), tokens)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    bert: Any = transformers.BertModel(transformers.BertConfig(vocab_size=tokens.vocab_size, **shape))
    bert.save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="'bert' is not a T5"):
        t5.load(str(tmp_path / "bert"), tokens)
    with pytest.raises(UserError, match="begin with the same token"):
        t5.answer_tokens(tokens, ["yes", "yes"])


def test_a_saved_t5_is_loaded_as_it_was(tokens, tmp_path):
    model = t5.load("small", tokens, seed=5)
    model.save_pretrained(tmp_path)
    again = t5.load(str(tmp_path), tokens)
    assert weights_sha256(again.state_dict()) == weights_sha256(model.state_dict())
    assert again.config.decoder_start_token_id == tokens.pad_id
    assert weights_sha256(t5.load("small", tokens, seed=6).state_dict()) != weights_sha256(model.state_dict())


@pytest.mark.skipif(not PLM, reason="FLIPBENCH_PLM names no folder of PLMs")
def test_t5s_own_tokenizer_has_the_answers_and_marks_words():
    own = t5.load_tokenizer(str(Path(PLM, "t5-small")))
    assert t5.answer_tokens(own, ANSWERS) == [[150, 1], [4273, 1]]
    pieces = own.pieces(["Will the user like the incomprehensibly long item?"])[0]
    starts = t5.word_starts(own)[torch.tensor(pieces.ids)]
    assert int(starts.sum()) == 8
    assert len(pieces.ids) > 8
