"""FLIP's pretraining as a whole: what it learns, its learning rate, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from tiny_flip import FLAVOURS, align, build, planted_rows

from flipbench.errors import UserError
from flipbench.models.precision import check_precision
from flipbench.train import pretrain as pretraining
from flipbench.train.config import TrainConfig
from flipbench.train.lr_schedule import epoch_cosine

CONFIG = TrainConfig(1e-2, batch_size=64, max_epochs=3, weight_decay=1e-3)  # of five steps an epoch


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_loss_falls(flavour):
    model = build(**FLAVOURS[flavour])
    history = align(model, replace(CONFIG, learning_rate=3e-3, max_epochs=10)).history
    assert [e.epoch for e in history] == list(range(10))
    first, last = history[0].figures, history[-1].figures
    assert last["mlm"] < 0.95 * first["mlm"]
    assert last["mtm"] < 0.9 * first["mtm"]
    assert last["icl"] < 0.8 * first["icl"]
    total = last["mlm"] + last["mtm"] + model.settings.icl_weight * last["icl"]
    assert last["loss"] == pytest.approx(total, rel=1e-5)
    rates = [epoch_cosine(3e-3, epoch, 10) for epoch in range(10)]
    assert [e.figures["learning_rate"] for e in history] == pytest.approx(rates)


def test_an_objective_that_is_off_has_no_figure():
    (epoch,) = align(build(mlm=False), replace(CONFIG, max_epochs=1)).history
    assert {*epoch.figures} == {"loss", "mtm", "icl", "learning_rate"}


def test_weight_decay_on_what_is_trained():
    before, after = build().id_model, build()
    align(after, replace(CONFIG, max_epochs=1, weight_decay=0.5))
    after = after.id_model
    assert torch.equal(before.head.weight, after.head.weight)
    assert torch.equal(before.linear.weight, after.linear.weight)
    unseen = torch.ones(before.features, dtype=torch.bool)
    unseen[torch.from_numpy(planted_rows()[0].ids).long().flatten()] = unseen[0] = False
    assert unseen.any()
    shrunk = before.embed.weight[unseen] * (1 - 1e-2 * 0.5) ** 5
    torch.testing.assert_close(after.embed.weight[unseen], shrunk)


def test_bfloat16_trains_close_to_float32():
    full, mixed = (
        [e.figures["loss"] for e in align(build(), replace(CONFIG, learning_rate=1e-3, precision=p)).history]
        for p in ("float32", "bfloat16")
    )
    assert all(a != b for a, b in zip(full, mixed, strict=True))
    assert mixed == pytest.approx(full, rel=0.05)


def test_bfloat16_where_it_is_unsupported_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla V100")
    with pytest.raises(UserError, match="bfloat16 is not supported by Tesla V100; did you mean 'float32'"):
        check_precision("bfloat16", torch.device("cuda:0"))
    with pytest.raises(UserError, match="not supported on mps"):
        check_precision("bfloat16", torch.device("mps"))
    check_precision("bfloat16", torch.device("cpu"))
    check_precision("float32", torch.device("mps"))


def test_processes_share_a_batch_equally_or_not_at_all(monkeypatch):
    monkeypatch.setattr(pretraining, "world_size", lambda: 3)
    shared = []
    for process in range(3):
        monkeypatch.setattr(pretraining, "rank", lambda process=process: process)
        shared += range(*pretraining.share_of(11).indices(11))
    assert shared == list(range(9))
    with pytest.raises(UserError, match="batch_size: 64 rows do not divide among 3 processes"):
        align(build(), CONFIG)


def test_rows_with_the_mask_feature_are_refused():
    ids = planted_rows()[0].ids.copy()
    ids[3, 2] = 0
    with pytest.raises(ValueError, match="mask feature 0"):
        align(build(), CONFIG, ids=ids)
