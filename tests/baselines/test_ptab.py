"""PTab: masked language modelling on single tokens, and the classifier that starts from it."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from baselines.ptab import MaskedPrompts, TextClassifier, TokenMLM
from flipbench.errors import UserError
from flipbench.models.encoder import load, load_tokenizer
from flipbench.models.mlm_head import token_head
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.run.stages import run_stage
from flipbench.run.tasks import fit_task
from flipbench.text.masking import masked_token_batches
from flipbench.text.tokens import TokenStore
from flipbench.train.rng import Streams
from flipbench.train.weights import saved_weights

ROWS = 300
SHORT = {"batch_size": 128, "pretrain.batch_size": 128}


@pytest.fixture(scope="module")
def tokens(table):
    return TokenStore.build(table, load_tokenizer("small", table))


def test_the_loss_is_the_cross_entropy_of_the_hidden_tokens(table, tokens):
    encoder = load("small", table=table, dropout=0.0)
    model = MaskedPrompts(encoder, token_head("small", encoder))
    batch = masked_token_batches(tokens, 0.3, Streams(0))(torch.from_numpy(table.ids[:20]), 0, 0, slice(None))
    loss = model(batch.ids, batch.text, batch.mask)["mlm"]
    states = encoder(batch.mask.tokens, batch.text.attention_mask).flatten(0, 1)[batch.mask.positions]
    hidden = torch.nn.functional.gelu(model.head.dense(states))
    logits = model.head.norm(hidden) @ encoder.token_embedding.weight.t() + model.head.bias
    torch.testing.assert_close(loss, cross_entropy(logits, batch.mask.targets), rtol=1e-5, atol=1e-5)
    assert torch.equal(batch.text.tokens.flatten()[batch.mask.positions], batch.mask.targets)
    loss.backward()
    assert all(p.grad is not None for p in model.head.parameters())


def test_it_learns_the_language_of_the_data(lab):
    (pretrain, *_) = lab.chain("ptab", **SHORT | {"pretrain.epochs": 6, "pretrain.learning_rate": 3e-3})
    losses = [e["mlm"] for e in run_stage(pretrain, lab.store, "cpu", 1)["history"]]
    assert losses[-1] < 0.6 * losses[0]


def test_the_classifier_starts_from_the_pretrained_encoder(lab):
    pretrain, select, *_ = lab.chain("ptab", **SHORT)
    run_stage(pretrain, lab.store, "cpu", 1)
    weights = saved_weights(lab.store, pretrain)
    model = fit_task(select, lab.table, lab.store, "cpu").build()
    assert isinstance(model, TextClassifier)
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, weights[f"encoder.{name}"]), name
    public = load("small", table=lab.table).state_dict()
    assert any(not torch.equal(tensor, public[name]) for name, tensor in model.encoder.state_dict().items())


@pytest.mark.parametrize("pooling", ["cls", "avg"])
def test_pooling(table, tokens, pooling):
    """The head reads CLS, or the mean over all tokens of a row; padding is tested with the pooling itself."""
    torch.manual_seed(0)
    model = TextClassifier(load("small", table=table, dropout=0.0), 8, 0.2, pooling).eval()
    ids = torch.from_numpy(table.ids[:12])
    text = tokens.batch(ids)
    assert text.attention_mask.all()
    with torch.inference_mode():
        states = model.encoder(text.tokens, text.attention_mask)
        expected = model.head(states[:, 0] if pooling == "cls" else states.mean(1)).squeeze(1)
        torch.testing.assert_close(model(ids, text), expected, rtol=1e-5, atol=1e-6)


def test_one_pretraining_serves_all(lab):
    first, slow = lab.chain("ptab"), lab.chain("ptab", learning_rate=1e-5, head_dim=64)
    assert first[0].key == slow[0].key
    assert first[1].key != slow[1].key
    assert first[0].key != lab.chain("ptab", **{"pretrain.mask_ratio": 0.3})[0].key
    assert "backbone" not in first[0].spec
    assert first[0].spec["method"] == "mlm"
    assert set(first[0].spec["settings"]) == set(TokenMLM.settings)


def test_a_prompt_longer_than_the_plm_reads_is_refused(lab, monkeypatch):
    long = replace(lab.table.fields[0], words="user " * 520)
    lab.table = replace(lab.table, fields=(long, *lab.table.fields[1:]), fingerprint="9" * 64)
    with pytest.raises(UserError, match="270 of 270 rows have more than the 512 tokens that the PLM takes"):
        run_stage(lab.chain("ptab", **SHORT)[0], lab.store, "cpu", 1)


def test_there_is_nothing_to_inspect_of_it(suite_file):
    path = suite_file("inspect: [embeddings]\n", methods="[ptab]", settings="{plm: small}")
    with pytest.raises(UserError, match="ptab: inspect: embeddings: nothing is pretrained"):
        plan.expand(suite.load(str(path)), {"planted-tiny": "a" * 64}, lambda *_: None)
