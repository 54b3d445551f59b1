"""Finetuning: what it learns, at which rates, and how it scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_flip import build_click, planted_rows, tokens

from flipbench import metrics
from flipbench.train import finetune as finetuning
from flipbench.train.config import TrainConfig
from flipbench.train.finetune import adamw, finetune, predict
from flipbench.train.id_models import fit
from flipbench.train.rng import Streams

CONFIG = TrainConfig(1e-2, batch_size=16, max_epochs=2, patience=3, plm_learning_rate=3e-3)
KINDS = ["flip", "flip_id", "flip_plm"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_and_the_best_epoch_is_kept(kind):
    train, valid = planted_rows()
    model, collator = build_click(kind)
    config = replace(CONFIG, max_epochs=12, patience=2)
    fitted = finetune(model, train, config, Streams(0), collator=collator, valid=valid)
    aucs = [e.auc for e in fitted.history]
    assert fitted.history[-1].figures["loss"] < 0.97 * fitted.history[0].figures["loss"]
    assert len(aucs) in (12, int(np.argmax(aucs)) + 3)
    logits = predict(model, valid, collator)
    assert metrics.auc(valid.labels, logits) == fitted.best.auc
    assert metrics.logloss(valid.labels, logits) == fitted.best.figures["logloss"]


def test_finetuning_flip_id_is_training_its_id_model():
    """So FLIP_ID differs from the scratch model by its start alone."""
    (finetuned, _), (fitted, _) = build_click("flip_id"), build_click("flip_id")
    config = replace(CONFIG, embedding_l2=1e-2)
    history = finetune(finetuned, planted_rows()[0], config, Streams(3), collator=None).history
    reference = fit(fitted.id_model, planted_rows()[0], config, Streams(3)).history
    losses = [[e.figures["loss"] for e in each] for each in (history, reference)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for a, b in zip(finetuned.parameters(), fitted.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_language_model_has_a_rate_of_its_own():
    model, collator = build_click("flip")
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    finetune(
        model, planted_rows()[0], replace(CONFIG, plm_learning_rate=1e-30, max_epochs=1), Streams(0), collator=collator
    )
    for name, weights in model.state_dict().items():
        unmoved = torch.allclose(weights, before[name], rtol=0, atol=1e-20)
        assert unmoved == name.startswith("encoder."), name
    rates = {group["lr"]: {*group["params"]} for group in adamw(model, CONFIG).param_groups}
    assert rates[3e-3] == {*model.encoder.parameters()}
    assert set().union(*rates.values()) == {*model.parameters()}


def test_ending_early_changes_no_learning_rate():
    histories = []
    for max_epochs, epochs in ((2, None), (2, 1), (1, None)):
        model, collator = build_click("flip_plm")
        config = replace(CONFIG, max_epochs=max_epochs, decay="linear", warmup=0.1)
        fitted = finetune(model, planted_rows()[0], config, Streams(0), collator=collator, epochs=epochs)
        histories.append(fitted.history)
    whole, ended_early, shorter = histories
    assert len(whole) == 2
    assert ended_early == whole[:1] != shorter


@pytest.mark.parametrize("kind", KINDS)
def test_prediction_does_not_depend_on_how_rows_are_batched(monkeypatch, kind):
    (model, collator), valid = build_click(kind), planted_rows()[1]
    whole = predict(model, valid, collator)
    monkeypatch.setattr(finetuning, "SCORING_BATCH", 37)
    np.testing.assert_allclose(predict(model, valid, collator), whole, atol=1e-5)
    ids = torch.from_numpy(valid.ids[:9])
    with torch.no_grad():
        literal = model.eval()(ids.long(), tokens().batch(ids))
    np.testing.assert_allclose(whole[:9], literal, atol=1e-5)


def test_bfloat16_finetunes_close_to_float32():
    losses = []
    for precision in ("float32", "bfloat16"):
        model, collator = build_click("flip")
        fitted = finetune(model, planted_rows()[0], replace(CONFIG, precision=precision), Streams(0), collator=collator)
        losses.append(fitted.best.figures["loss"])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
