"""P5: one score by three ways of decoding, its loss, and what it reads; see also the contract of all such methods."""

import pytest
import torch

from baselines.p5 import ANSWERS, TEMPLATES, P5Model
from flipbench.models import t5
from flipbench.text.templates import Templated, TemplateStore
from flipbench.text.tokens import TokenBatch

ROWS = 100


@pytest.fixture(scope="module")
def tokens(table):
    return t5.load_tokenizer("small", table, [*TEMPLATES, *ANSWERS])


@pytest.fixture(scope="module")
def store(table, tokens):
    return TemplateStore.build(table, tokens, TEMPLATES)


@pytest.fixture(scope="module")
def batch(table, store):
    """Ids and text of twelve rows, in all wordings."""
    ids = torch.from_numpy(table.ids[:12].copy())
    return ids, store.batch(ids, torch.arange(12) % len(TEMPLATES))


@pytest.fixture(params=[True, False], ids=["whole words", "tokens alone"])
def model(request, tokens):
    torch.manual_seed(0)
    starts = t5.word_starts(tokens) if request.param else None
    return P5Model(t5.load("small", tokens), t5.answer_tokens(tokens, ANSWERS), starts).eval()


with_words = pytest.mark.parametrize("model", [True], indirect=True)


def test_the_score_is_the_same_however_it_is_decoded(model, tokens, batch):
    ids, text = batch
    no, yes = (answer[0] for answer in t5.answer_tokens(tokens, ANSWERS))
    with torch.inference_mode():
        ours = model(ids, text).sigmoid()
        forced = []
        for answer in model.answers.tolist():  # teacher-forced on either whole answer
            before = torch.tensor([[model.start, *answer[:-1]]]).expand(len(ids), -1)
            first = model.scores(text, before)[:, 0]
            forced.append(first[:, [no, yes]].softmax(1)[:, 1])
        made = model.t5.generate(
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


@with_words
def test_the_loss_is_that_of_transformers(model, tokens, batch):
    ids, text = batch
    labels = torch.arange(len(ids)) % 2
    reference = model.t5(
        inputs_embeds=model.embed(text), attention_mask=text.attention_mask.long(), labels=model.answers[labels]
    )
    torch.testing.assert_close(model.loss(ids, text, labels.float()), reference.loss)
    assert model.answers[:, -1].tolist() == [tokens.sep_id] * 2


def test_a_shorter_answer_weighs_as_much_as_a_longer_one(store, tokens, table):
    model = P5Model(t5.load("small", tokens, dropout=0.0), [[7, 3], [9, 11, 12, 3]], None)
    ids, template, labels = torch.from_numpy(table.ids[:2].copy()), torch.tensor([0, 1]), torch.tensor([0.0, 1.0])
    both = model.loss(ids, store.batch(ids, template), labels)
    rows = [slice(0, 1), slice(1, 2)]
    one, other = (model.loss(ids[r], store.batch(ids[r], template[r]), labels[r]) for r in rows)
    torch.testing.assert_close(both, (one + other) / 2)


@with_words
def test_words_are_numbered_as_they_begin(model, tokens):
    row = torch.tensor(tokens.sentences(["genre is comedy."]))  # [CLS] genre is comedy . [SEP]
    assert model.starts_word[row].all()
    assert int(row[0, -1]) == tokens.sep_id
    number = torch.tensor([[1, 2, 3, 4, 5, 0]])  # P5's calculate_whole_word_ids gives its end token 0
    split = tokens.pieces(["user id is 12345."])[0]
    continues = [token.startswith("##") for token in split.tokens]
    assert any(continues)
    assert (~model.starts_word[torch.tensor(split.ids)]).tolist() == continues
    batch = TokenBatch(row, torch.tensor([6]), torch.full_like(row, -1))
    expected = model.t5.shared(row) + model.whole_words(number)
    assert torch.equal(model.embed(batch), expected)


@with_words
def test_all_wordings_score_as_their_mean(model, store, table):
    ids = torch.from_numpy(table.ids[:6].copy())
    with torch.inference_mode():
        every = model(ids, Templated(store, True).batch(ids, False))
        single = [model(ids, store.batch(ids, torch.full((6,), t))) for t in range(len(TEMPLATES))]
        first = model(ids, Templated(store, False).batch(ids, False))
    torch.testing.assert_close(every, torch.stack(single).mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first, single[0], atol=1e-5, rtol=1e-5)
    assert (every - first).abs().max() > 1e-3
