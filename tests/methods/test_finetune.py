"""The finetuning loop: learning, choosing an epoch, stopping anywhere."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from flipbench.text.reader import Prompts
from tiny_encoder import TinyEncoder

from flipbench import metrics
from flipbench.methods.flip.ctr import FLIP, FLIPID, FLIPPLM
from flipbench.methods.flip.settings import RELEASED
from flipbench.train import finetune as loop
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.finetune import FinetuneRecipe, adamw, finetune, predict
from flipbench.train.id_models import Recipe, fit, weights_sha256
from flipbench.train.rng import Streams
from flipbench.train.trainer import DivergedError

FAST = FinetuneRecipe(learning_rate=1e-2, plm_learning_rate=3e-3, batch_size=16, max_epochs=2, patience=3)
KINDS = ["flip", "flip_id", "flip_plm"]


class Killed(Exception):
    pass


@pytest.fixture
def make(build_id, store):
    def make(kind, seed=0, dropout=0.3):
        id_model = build_id("deepfm", seed, dropout=dropout)
        torch.manual_seed(seed)
        encoder = TinyEncoder(store.vocab_size, dropout=dropout)
        if kind == "flip_id":
            return FLIPID(id_model)
        return FLIP(id_model, encoder) if kind == "flip" else FLIPPLM(encoder)

    return make


def text_of(kind, store):
    return None if kind == "flip_id" else Prompts(store)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kill_at", [0, 1, 2])
def test_a_finetuning_killed_anywhere_resumes_bit_for_bit(make, parts, store, tmp_path, kind, kill_at):
    train, valid = parts
    text, settings = text_of(kind, store), FinetuneRecipe.split(asdict(RELEASED.finetune))[0]
    settings = replace(settings, learning_rate=1e-2, batch_size=16, max_epochs=2)
    undisturbed = make(kind)
    history = finetune(undisturbed, train, settings, Streams(7), reader=text, valid=valid).history
    calls = iter(range(100))

    def kill(*_):
        if next(calls) == kill_at:
            raise Killed

    checkpoint = Checkpoint(tmp_path / "c.pt", "k", -1)  # after every step
    with pytest.raises(Killed):
        finetune(
            make(kind), train, settings, Streams(7), reader=text, valid=valid, checkpoint=checkpoint, progress=kill
        )
    assert (checkpoint.load()["epoch"], checkpoint.load()["step"]) == [(0, 16), (1, 0), (1, 16)][kill_at]
    resumed = make(kind, seed=99)  # its own start must not matter
    torch.rand(5)
    again = finetune(resumed, train, settings, Streams(7), reader=text, valid=valid, checkpoint=checkpoint)
    assert again.history == history
    assert weights_sha256(resumed.state_dict()) == weights_sha256(undisturbed.state_dict())


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_and_the_best_epoch_is_kept(make, parts, store, kind):
    train, valid = parts
    model, text = make(kind, dropout=0.0), text_of(kind, store)
    settings = replace(FAST, max_epochs=12, patience=2)
    fitted = finetune(model, train, settings, Streams(0), reader=text, valid=valid)
    aucs = [e.auc for e in fitted.history]
    assert fitted.history[-1].loss < 0.97 * fitted.history[0].loss
    assert len(aucs) in (12, int(np.argmax(aucs)) + 3)
    logits = predict(model, valid, text)
    assert metrics.auc(valid.labels, logits) == fitted.best.auc
    assert metrics.logloss(valid.labels, logits) == fitted.best.logloss


def test_finetuning_flip_id_is_training_the_id_model(make, parts):
    """So FLIP_ID differs from the scratch model by its start alone, whichever loop trains it."""
    ours, theirs = make("flip_id", dropout=0.0), make("flip_id", dropout=0.0)
    settings = replace(FAST, embedding_l2=1e-2)
    history = finetune(ours, parts[0], settings, Streams(3), reader=None).history
    recipe = Recipe(1e-2, 1e-2, 16, 2, 3)
    reference = fit(theirs.id_model, parts[0], recipe, Streams(3)).history
    assert [e.loss for e in history] == pytest.approx([e.loss for e in reference], rel=1e-5)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_language_model_has_a_rate_of_its_own(make, parts, store):
    model = make("flip", dropout=0.0)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    finetune(model, parts[0], replace(FAST, plm_learning_rate=1e-30, max_epochs=1), Streams(0), reader=Prompts(store))
    for name, weights in model.state_dict().items():
        still = torch.allclose(weights, before[name], rtol=0, atol=1e-20)
        assert still == name.startswith("encoder."), name
    rates = {group["lr"]: {id(p) for p in group["params"]} for group in adamw(model, FAST).param_groups}
    assert rates[3e-3] == {id(p) for p in model.encoder.parameters()}
    assert set().union(*rates.values()) == {id(p) for p in model.parameters()}


def test_without_validation_it_trains_exactly_so_long(make, parts, store):
    fitted = finetune(make("flip_plm"), parts[0], FAST, Streams(0), reader=Prompts(store))
    assert [e.epoch for e in fitted.history] == [0, 1]
    assert fitted.best.auc is None


@pytest.mark.parametrize("kind", KINDS)
def test_prediction_does_not_depend_on_how_rows_are_batched(make, parts, store, monkeypatch, kind):
    model, text = make(kind), text_of(kind, store)
    whole = predict(model, parts[1], text)
    monkeypatch.setattr(loop, "SCORING_BATCH", 37)
    np.testing.assert_allclose(predict(model, parts[1], text), whole, atol=1e-5)
    ids = torch.from_numpy(parts[1].ids[:9])
    with torch.no_grad():
        literal = model.eval()(ids.long(), store.batch(ids))
    np.testing.assert_allclose(whole[:9], literal, atol=1e-5)


@pytest.mark.parametrize("kind", ["flip", "flip_plm"])
def test_a_loss_that_is_no_number_is_an_error(make, parts, store, tmp_path, kind):
    model = make(kind)
    with torch.no_grad():
        model.head.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match="training loss is nan in epoch 1"):
        finetune(
            model, parts[0], FAST, Streams(0), reader=Prompts(store), checkpoint=Checkpoint(tmp_path / "c.pt", "k", -1)
        )
    assert not (tmp_path / "c.pt").exists(), "a checkpoint of a diverged run would only diverge again"


def test_bfloat16_finetunes_close_to_float32(make, parts, store):
    losses = [
        finetune(
            make("flip", dropout=0.0), parts[0], replace(FAST, precision=p), Streams(0), reader=Prompts(store)
        ).best.loss
        for p in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
