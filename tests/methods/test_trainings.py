"""What every training promises, whatever it trains: to resume bit for bit, and to stop where it diverges."""

from functools import partial
from itertools import count

import pytest
import torch
from tiny_flip import align, build, build_click, build_id, planted_rows
from torch import nn

from flipbench.train import id_models, trainer
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import TrainConfig
from flipbench.train.finetune import finetune
from flipbench.train.id_models import fit
from flipbench.train.rng import Streams
from flipbench.train.trainer import DivergedError
from flipbench.train.weights import weights_sha256

CONFIG = TrainConfig(1e-2, batch_size=64, max_epochs=2, patience=3, weight_decay=1e-3)  # of five steps an epoch


class Killed(Exception):
    pass


@pytest.fixture(params=["id", "id by rows", "pretraining", "flip", "flip_id", "flip_plm"])
def training(request, monkeypatch):
    """(``make(seed)``, ``run(model, seed, **options)``): with dropout, and a report of progress after every step."""
    monkeypatch.setattr(trainer, "PROGRESS_SECONDS", -1.0)
    kind, (train, valid) = request.param, planted_rows()
    if kind == "id by rows":
        monkeypatch.setattr(id_models, "MIN_ROWS", 1)

    def run_fit(model, seed=7, **options):
        return fit(model, train, CONFIG, Streams(seed), valid=valid, **options)

    def run_finetune(model, seed=7, **options):
        collator = build_click(kind)[1]
        return finetune(model, train, CONFIG, Streams(seed), collator=collator, valid=valid, **options)

    if kind == "pretraining":
        return lambda seed: build(dropout=0.3, seed=seed), partial(align, config=CONFIG)
    if kind.startswith("id"):
        return lambda seed: build_id("deepfm", seed, dropout=0.3), run_fit
    return lambda seed: build_click(kind, seed, 0.3)[0], run_finetune


@pytest.mark.parametrize("kill_at", [0, 4, 5, 8, 11])  # a first step, the last of an epoch, its end, a step, the end
def test_killed_anywhere_it_resumes_bit_for_bit(training, tmp_path, kill_at):
    make, run = training
    reports, remaining = [], []
    undisturbed = make(seed=0)
    history = run(undisturbed, progress=lambda *report: reports.append(report)).history
    assert [epoch for epoch, *_ in reports] == [0] * 6 + [1] * 6

    def kill(*report):
        if report == reports[kill_at]:
            raise Killed

    checkpoint = Checkpoint(tmp_path / "c.pt", "k", every=-1)  # after every step
    with pytest.raises(Killed):
        run(make(seed=0), checkpoint=checkpoint, progress=kill)
    resumed = make(seed=99)  # its own start must not matter
    torch.rand(5)
    fitted = run(resumed, checkpoint=checkpoint, progress=lambda *report: remaining.append(report))
    assert fitted.history == history
    assert remaining == reports[kill_at + 1 :], "no step is taken twice"
    assert weights_sha256(resumed.state_dict()) == weights_sha256(undisturbed.state_dict())


def test_a_seed_repeats_and_dropout_is_drawn(training):
    make, run = training

    def digest(seed, dropout=True):
        model = make(seed=0)
        for module in model.modules():
            if isinstance(module, nn.Dropout) and not dropout:
                module.p = 0.0
        run(model, seed=seed)
        return weights_sha256(model.state_dict())

    assert digest(0) == digest(0)
    assert len({digest(0), digest(1), digest(0, dropout=False)}) == 3


def poison(model, what):
    """Make a weight NaN: one that every loss depends on, or one that no batch reads."""
    if encoder := getattr(model, "encoder", None):
        weight = encoder.norm.weight if what == "loss" else encoder.positions.weight[-1]
    else:
        id_model = getattr(model, "id_model", model)
        weight = id_model.head.weight if what == "loss" else id_model.embed.weight[0]
    weight.data.fill_(float("nan"))


@pytest.mark.parametrize(("what", "steps"), [("loss", 0), ("loss", 3), ("weights", 3)])
def test_divergence_keeps_the_checkpoint(training, tmp_path, what, steps):
    make, run = training
    model, taken = make(seed=0), count(1)
    if steps == 0:
        poison(model, what)
    checkpoint = Checkpoint(tmp_path / "c.pt", "k", every=-1)
    last_good = f"epoch 1, step {steps}" if steps else "none"
    with pytest.raises(DivergedError, match=f"{what}.* in epoch 1, by step {steps + 1}; last good .*: {last_good}"):
        run(model, checkpoint=checkpoint, progress=lambda *_: next(taken) == steps and poison(model, what))
    saved = checkpoint.load()
    if steps == 0:
        assert saved is None, "a checkpoint of a diverged run would only diverge again"
    else:
        assert (saved["epoch"], saved["step"]) == (0, steps)
        assert all(torch.isfinite(tensor).all() for tensor in saved["model"].values())
