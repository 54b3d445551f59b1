"""The pretraining loop: learning, stopping anywhere, going wrong."""

import dataclasses

import pytest
import torch
from flipbench.methods.flip.pretrain import pretrain

from flipbench.errors import UserError
from flipbench.methods.flip.settings import PAPER, RELEASED
from flipbench.models.precision import check_precision
from flipbench.train import pretrain as loop
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.id_models import weights_sha256
from flipbench.train.pretrain import cosine
from flipbench.train.rng import Streams
from flipbench.train.trainer import DivergedError

FAST = {"learning_rate": 1e-2, "batch_size": 64, "epochs": 3}


class Killed(Exception):
    pass


@pytest.fixture
def at_every_step(monkeypatch):
    monkeypatch.setattr(loop, "LOOK", -1.0)


@pytest.mark.parametrize("kill_at", [0, 1, 4, 5, 6, 11])
def test_a_pretraining_killed_anywhere_resumes_bit_for_bit(build, parts, store, tmp_path, at_every_step, kill_at):
    ids = parts[0].ids
    undisturbed = build(dropout=0.3, **FAST)  # dropout: its stream must resume too
    history = pretrain(undisturbed, ids, store, Streams(7))
    calls = iter(range(100))

    def kill(*_):
        if next(calls) == kill_at:
            raise Killed

    checkpoint = Checkpoint(tmp_path / "c.pt", "k", -1)  # after every step
    with pytest.raises(Killed):
        pretrain(build(dropout=0.3, **FAST), ids, store, Streams(7), checkpoint=checkpoint, progress=kill)
    saved = checkpoint.load()
    steps = 5 * saved["epoch"] + saved["step"]
    assert steps == kill_at - kill_at // 6 + 1 - (kill_at % 6 == 5), "progress: five steps an epoch, then its end"
    resumed = build(seed=99, dropout=0.3, **FAST)  # its own start must not matter
    torch.rand(5)
    assert pretrain(resumed, ids, store, Streams(7), checkpoint=checkpoint) == history
    assert weights_sha256(resumed.state_dict()) == weights_sha256(undisturbed.state_dict())


def test_a_finished_checkpoint_trains_no_further(build, parts, store, tmp_path):
    model = build(**FAST)
    checkpoint = Checkpoint(tmp_path / "c.pt", "k")
    history = pretrain(model, parts[0].ids, store, Streams(7), checkpoint=checkpoint)
    again = build(seed=3, **FAST)
    assert pretrain(again, parts[0].ids, store, Streams(7), checkpoint=checkpoint) == history
    assert weights_sha256(again.state_dict()) == weights_sha256(model.state_dict())


def test_dropout_and_seeds_matter(build, parts, store):
    def weights(seed, dropout):
        model = build(dropout=dropout, **FAST | {"epochs": 1})
        pretrain(model, parts[0].ids, store, Streams(seed))
        return weights_sha256(model.state_dict())

    assert len({weights(0, 0.0), weights(0, 0.3), weights(1, 0.3)}) == 3
    assert weights(0, 0.3) == weights(0, 0.3)


@pytest.mark.parametrize("flavour", [PAPER, RELEASED], ids=["paper", "released"])
def test_every_loss_falls_on_planted_rows(build, parts, store, flavour):
    settings = dataclasses.asdict(flavour.pretrain) | FAST | {"learning_rate": 3e-3, "epochs": 10}
    model = build(**settings)
    history = pretrain(model, parts[0].ids, store, Streams(0))
    first, last = history[0], history[-1]
    assert [e.epoch for e in history] == list(range(10))
    assert last.mlm < 0.95 * first.mlm
    assert last.mtm < 0.9 * first.mtm
    assert last.icl < 0.8 * first.icl
    weight = model.settings.icl_weight
    assert last.loss == pytest.approx(last.mlm + last.mtm + weight * last.icl, rel=1e-5)


def test_an_objective_that_is_off_has_no_figure(build, parts, store):
    (epoch,) = pretrain(build(mlm=False, **FAST | {"epochs": 1}), parts[0].ids, store, Streams(0))
    assert epoch.mlm is None
    assert epoch.mtm is not None


def test_the_rate_is_a_cosine_stepped_once_an_epoch():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30, eta_min=0)
    for epoch in range(30):
        assert cosine(1e-4, epoch, 30) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        schedule.step()
    assert cosine(1e-4, 29, 30) == pytest.approx(0.0027 * 1e-4, rel=0.02)


def test_weight_decay_is_on_all_that_is_trained_and_the_click_head_is_not(build, parts, store):
    before, after = (
        build(**FAST | {"epochs": 1, "weight_decay": 0.5}),
        build(**FAST | {"epochs": 1, "weight_decay": 0.5}),
    )
    pretrain(after, parts[0].ids, store, Streams(0))
    assert torch.equal(before.id_model.head.weight, after.id_model.head.weight)
    assert torch.equal(before.id_model.linear.weight, after.id_model.linear.weight)
    seen = torch.zeros(before.id_model.features, dtype=torch.bool)
    seen[torch.from_numpy(parts[0].ids).long().flatten()] = True
    seen[0] = True
    unseen = before.id_model.embed.weight[~seen]
    shrunk = unseen * (1 - 1e-2 * 0.5) ** 5
    torch.testing.assert_close(after.id_model.embed.weight[~seen], shrunk)


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_a_diverged_pretraining_says_where_and_keeps_the_last_good_checkpoint(
    build, parts, store, tmp_path, at_every_step, where
):
    model, good = build(**FAST), build(**FAST)
    checkpoint = Checkpoint(tmp_path / "c.pt", "k", -1)
    steps = iter(range(100))

    def poison(*_):
        if next(steps) == 2:
            with torch.no_grad():
                (model.encoder.norm.weight if where == "loss" else model.encoder.positions.weight[-1]).fill_(
                    float("nan")
                )

    with pytest.raises(DivergedError, match=rf"{where}.* epoch 1, by step 4; last good checkpoint: epoch 1, step 3"):
        pretrain(model, parts[0].ids, store, Streams(0), checkpoint=checkpoint, progress=poison)
    saved = checkpoint.load()
    assert (saved["epoch"], saved["step"]) == (0, 3)
    good.load_state_dict(saved["model"])
    assert all(torch.isfinite(p).all() for p in good.parameters())


def test_bfloat16_trains_close_to_float32(build, parts, store):
    calm = FAST | {"learning_rate": 1e-3}
    histories = [pretrain(build(precision=p, **calm), parts[0].ids, store, Streams(0)) for p in ("float32", "bfloat16")]
    for a, b in zip(*histories, strict=True):
        assert a.loss != b.loss
        assert a.loss == pytest.approx(b.loss, rel=0.05)


def test_bfloat16_where_it_is_unsupported_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    with pytest.raises(UserError, match="bfloat16 is not supported by Tesla V100; did you mean 'float32'"):
        check_precision("bfloat16", torch.device("cuda:0"))
    with pytest.raises(UserError, match="not supported on mps"):
        check_precision("bfloat16", torch.device("mps"))
    check_precision("bfloat16", torch.device("cpu"))
    check_precision("float32", torch.device("mps"))


def test_processes_share_a_batch_equally(monkeypatch):
    monkeypatch.setattr(loop, "world_size", lambda: 3)
    shares = []
    for r in range(3):
        monkeypatch.setattr(loop, "rank", lambda r=r: r)
        shares += range(*loop.share_of(11).indices(11))
    assert shares == list(range(9))


def test_a_batch_that_processes_cannot_share_is_refused(build, parts, store, monkeypatch):
    monkeypatch.setattr(loop, "world_size", lambda: 3)
    with pytest.raises(UserError, match="batch_size: 64 rows do not divide among 3 processes"):
        pretrain(build(**FAST), parts[0].ids, store, Streams(0))


def test_rows_with_the_mask_feature_are_refused(build, parts, store):
    ids = parts[0].ids.copy()
    ids[3, 2] = 0
    with pytest.raises(ValueError, match="mask feature 0"):
        pretrain(build(**FAST), ids, store, Streams(0))
