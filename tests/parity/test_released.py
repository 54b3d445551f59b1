"""Flavour ``released`` against the authors' equations in numpy: losses, gradients, the finetunings' first step."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import released
import torch
from torch import nn

from flipbench.data.split import Rows
from flipbench.methods.flip.batch import Masks
from flipbench.methods.flip.ctr import FLIP
from flipbench.methods.flip.masking import mask_table
from flipbench.methods.flip.model import Pretraining
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.models.click_model import IDClickModel
from flipbench.plan import registry
from flipbench.plan.expand import resolve
from flipbench.plan.settings import flatten
from flipbench.text.masking import hide
from flipbench.text.tokens import TokenBatch
from flipbench.train.config import TrainConfig
from flipbench.train.finetune import finetune
from flipbench.train.rng import Streams

ROWS, FIELDS, FEATURES, LENGTH, PAD_TO, WORDS = 9, 4, 21, 7, 12, 30
MASK_WORD, PAD_WORD = 29, 28
SIZES = {"embedding_dim": 3, "cross_layers": 2, "experts": 3, "rank": 2, "hidden": [6, 5]}


def flavour(method, **given):
    return resolve(registry.get(method), {"flavour": "released", **given})


class Words(nn.Module):
    """The language model's place: a state for every token, padding too."""

    vocab_size, hidden_size = WORDS, 8

    def __init__(self):
        super().__init__()
        self.words = nn.Parameter(torch.randn(WORDS, 8))
        self.places = nn.Parameter(torch.randn(PAD_TO, 8))

    def forward(self, tokens, attention_mask):
        return torch.tanh(self.words[tokens] + self.places[: tokens.shape[1]])

    def states(self, text, at=None):
        states = self(text.tokens, text.attention_mask)
        return states if at is None else states.flatten(0, 1)[at]


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(3)
    yield
    torch.set_default_dtype(torch.float32)


def dcnv2_mix():
    cls = registry.get("dcnv2_mix").load()
    return cls(FEATURES, FIELDS, **{name: s.value for name, s in cls.settings.items()} | SIZES)


def redrawn(model):
    """With weights at which no term is small beside the others, away from any start."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


def text_of(ids):
    """Some text of 3 to LENGTH tokens for every row, a function of its ids."""
    total, place = ids.long().sum(1, keepdim=True), torch.arange(LENGTH)
    tokens = 1 + (total * (place + 1) + ids[:, place % FIELDS]) % (PAD_WORD - 1)
    lengths = 3 + total[:, 0] % (LENGTH - 2)
    return TokenBatch(tokens.masked_fill(place >= lengths.unsqueeze(1), PAD_WORD), lengths, torch.zeros_like(tokens))


def padded(text):
    """As the authors pad: to a fixed length, with 0."""
    return np.pad(np.where(text.attention_mask, text.tokens, 0), ((0, 0), (0, PAD_TO - LENGTH)))


def weights(model):
    return {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}


def assert_gradients(model, loss, batch, scale=1.0):
    """Every tensor's gradient along a random direction is the numpy loss's central difference, ``scale`` times less.

    A step so short hardly meets a kink of the ReLU, among 1,024 rows either.
    """
    p, draw, step, seen = weights(model), np.random.default_rng(0), 1e-6, 0
    for name, parameter in model.named_parameters():
        direction = draw.normal(size=parameter.shape)
        ends = [loss({**p, name: p[name] + sign * step * direction}, batch) for sign in (1, -1)]
        analytic = 0.0 if parameter.grad is None else float((parameter.grad.numpy() * direction).sum())
        assert analytic * scale == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-7 * scale), name
        seen += abs(analytic) > 1e-6
    assert seen > 4


@pytest.fixture
def pretraining():
    """A model with the released settings, what its step reads, and the same as numpy has it."""
    given = flavour("flip")["pretrain"]
    settings = {n: v for n, v in given.items() if n in PretrainSettings.__dataclass_fields__}
    counts = torch.cat([torch.zeros(1), torch.randint(0, 90, (FEATURES - 1,))]).long()
    settings |= {"mtm_pad_to": PAD_TO, "icl_dim": 6, "mtm_dim": 5, "noise": 3}
    model = Pretraining(dcnv2_mix(), Words(), PretrainSettings(**settings), counts)
    ids = torch.randint(1, FEATURES, (ROWS, FIELDS))
    text = text_of(ids)
    hidden = text.attention_mask & (torch.rand(ROWS, LENGTH) < 0.4)
    masks = Masks(
        hide(text.tokens, hidden, MASK_WORD),
        mask_table(ids, torch.tensor([[0, 2], [1, 3], [0, 1]]).repeat(3, 1)),
        torch.cat([torch.zeros(ROWS, 2, 1), torch.randint(1, FEATURES, (ROWS, 2, 3))], dim=2).long(),
    )
    masks.candidates[..., 0] = masks.table.targets
    batch = {"ids": ids, "masked_ids": masks.table.ids, "fields": masks.table.fields, "candidates": masks.candidates}
    batch = {name: tensor.numpy() for name, tensor in {**batch, "counts": counts}.items()}
    batch["tokens"] = padded(text)
    batch["masked_tokens"] = np.where(np.pad(hidden, ((0, 0), (0, PAD_TO - LENGTH))), MASK_WORD, batch["tokens"])
    return redrawn(model), (ids, text, masks), batch


@pytest.mark.parametrize("name", released.PRETRAINING)
def test_pretraining_loss_and_gradients(pretraining, name):
    model, inputs, batch = pretraining
    ours, theirs = model(*inputs)[name], released.PRETRAINING[name]
    assert ours.item() == pytest.approx(theirs(weights(model), batch), rel=1e-9)
    ours.backward()
    assert_gradients(model, theirs, batch)


def test_pretraining_total_weighs_contrast_by_an_eighth(pretraining):
    model, inputs, batch = pretraining
    each = {name: loss(weights(model), batch) for name, loss in released.PRETRAINING.items()}
    total = each["mlm"] + each["mtm"] + released.ICL_WEIGHT * each["icl"]
    assert model.total(model(*inputs)).item() == pytest.approx(total, rel=1e-9)


def test_nce_biases_start_at_the_frequencies(pretraining):
    output = Pretraining(
        dcnv2_mix(), Words(), pretraining[0].settings, torch.from_numpy(pretraining[2]["counts"])
    ).mtm.output
    q = np.maximum(pretraining[2]["counts"] / pretraining[2]["counts"].sum(), 1e-10)
    np.testing.assert_allclose(output.bias.weight[:, 0].detach(), np.log(q / q.sum()) + np.log(FEATURES), atol=1e-12)


def test_padding_decides_what_mtm_reads(pretraining):
    model, inputs, _ = pretraining
    losses = {}
    for pad_to in (0, LENGTH, PAD_TO):
        model.settings = model.mtm.settings = PretrainSettings(**{**vars(model.settings), "mtm_pad_to": pad_to})
        losses[pad_to] = model(*inputs)
    assert abs(losses[LENGTH]["mtm"] - losses[PAD_TO]["mtm"]) > 1e-3
    assert abs(losses[LENGTH]["mtm"] - losses[0]["mtm"]) > 1e-3, "another id stands at padding"
    for name in ("mlm", "icl"):
        assert losses[0][name] == losses[PAD_TO][name]


FINETUNINGS = {"flip": released.finetune_all, "flip_id": released.finetune_ctr}


def clicks(method):
    """A model, rows in one batch of the flavour's size, their text, and the same as numpy has it."""
    settings = flavour(method)
    model = IDClickModel(dcnv2_mix()) if method == "flip_id" else FLIP(dcnv2_mix(), Words(), 0.3, True)
    if method == "flip":
        assert settings["fused_biases"]
    rows = settings["batch_size"]
    ids, labels = torch.randint(1, FEATURES, (rows, FIELDS)), torch.arange(rows) % 3 == 0
    batch = {"ids": ids.numpy(), "labels": labels.numpy(), "tokens": padded(text_of(ids))}
    return redrawn(model), settings, ids, labels, batch


def loss_and_gradients(model, config, ids, labels):
    """The loss without L2, and the gradients with it, as the optimizer gets them."""
    loss = model.loss(ids, text_of(ids), labels.double())
    loss.backward()
    for table in model.embedding_tables():
        table.grad += config.embedding_l2 * table.detach()
    return loss.item()


@pytest.mark.parametrize("method", FINETUNINGS)
def test_finetuning_loss_and_gradients(method):
    model, settings, ids, labels, batch = clicks(method)
    config, _ = TrainConfig.split(settings)
    scale = len(ids) if method == "flip_id" else 1  # summed there
    loss = loss_and_gradients(model, config, ids, labels)
    whole = loss + config.embedding_l2 / 2 * released.tables(weights(model))
    assert whole * scale == pytest.approx(FINETUNINGS[method](weights(model), batch), rel=1e-9)
    assert_gradients(model, FINETUNINGS[method], batch, scale)


@pytest.mark.parametrize("method", FINETUNINGS)
def test_finetuning_takes_the_authors_first_step(method):
    model, settings, ids, labels, _ = clicks(method)
    config, _ = TrainConfig.split({**settings, "max_epochs": 1})
    start, joint = copy.deepcopy(model), method == "flip"
    loss_and_gradients(start, config, ids, labels)
    rows = Rows(ids.numpy().astype(np.int32), labels.numpy().astype(np.uint8), np.zeros(len(ids), np.int32))
    collator = SimpleNamespace(lengths=lambda ids: ids.sum(1), batch=lambda ids, training: text_of(ids))
    finetune(model, rows, config, Streams(0), collator=collator if joint else None)
    for (name, before), after in zip(start.named_parameters(), model.parameters(), strict=True):
        weight, gradient = before.detach().numpy(), before.grad.numpy()
        expected = (
            released.adam_step(weight, gradient, 5e-5, decay=1e-3)
            if joint
            else released.adam_step(weight, len(ids) * gradient, 1e-3)
        )
        np.testing.assert_allclose(after.detach(), expected, rtol=0, atol=1e-11, err_msg=name)


COMMON = {"backbone": "dcnv2_mix", "backbone_start": "released", "pretrain.mtm_pad_to": 100, "patience": 3}
ALONE = {"learning_rate": 1e-3, "weight_decay": 0.0, "batch_size": 1024, "max_epochs": 20}
ALONE |= {"embedding_l2": 1.953125e-6, "adam_eps": 9.765625e-12}
JOINT = {"learning_rate": 5e-5, "weight_decay": 1e-3, "batch_size": 256, "max_epochs": 25}
SWITCHES = {
    "flip": JOINT | {"plm_learning_rate": 5e-5, "embedding_l2": 2e-4, "fused_biases": True},
    "flip_plm": JOINT | {"plm_learning_rate": 5e-5, "pooling": "cls", "dropout": 0.0},
    **dict.fromkeys(("flip_id", "alt_id", "ctrl"), ALONE),
}


@pytest.mark.parametrize("method", SWITCHES)
def test_switches_of_the_flavour(method):
    settings = flatten(flavour(method))
    assert {name: settings[name] for name in COMMON | SWITCHES[method]} == COMMON | SWITCHES[method]
    assert settings["pretrain.learning_rate"] == 1e-4
    assert settings["pretrain.icl_weight"] == 1 / 8


def test_released_start_of_dcn_mix():
    cls = registry.get("dcnv2_mix").load()
    given = {name: s.value for name, s in cls.settings.items()}
    model = cls(1000, 8, **given | {"start": "released"})
    rooted = {256: 256**-0.5, 300: 300**-0.5, 384: 384**-0.5}  # nn.Linear draws from -root to root
    spreads = {"down": 0.0155, "up": 0.0155, "core": 0.042, "gate.weight": 0.0361, "head.weight": rooted[384] / 3**0.5}
    for i, inputs in ((0, 256), (2, 300), (4, 300)):
        spreads |= {f"mlp.{i}.weight": 1e-4, f"mlp.{i}.bias": rooted[inputs] / 3**0.5}
    spreads |= {"embed.weight": 1e-4, "linear.weight": 1e-4, "bias": 0.0, "head.bias": 0.0}
    found = dict(model.named_parameters())
    assert found.keys() == spreads.keys()
    for name, spread in spreads.items():
        few = found[name].numel() < 1000
        assert found[name].std(correction=0).item() == pytest.approx(spread, rel=0.12 if few else 0.03), name
    own = cls(1000, 8, **given)
    assert own.down.std() > 2 * model.down.std()
