"""Two processes on gloo against one."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from flipbench.methods.flip.pretrain import pretrain
from tiny_encoder import TinyEncoder
from torch import nn
from torch.multiprocessing import spawn

from baselines.dcnv2 import DCNv2
from flipbench.data.store import open_table
from flipbench.methods.flip.model import Pretraining
from flipbench.methods.flip.objectives import info_nce
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.models.encoder import load_tokenizer
from flipbench.text.tokens import TokenStore
from flipbench.train.distributed import gather, rank, world_size
from flipbench.train.rng import Streams

RATE = {"learning_rate": 1e-2, "batch_size": 64, "epochs": 4}


@pytest.fixture(scope="module")
def model(build):
    return build(**RATE)


@pytest.fixture(scope="module")
def folder(model, parts, counts, tmp_path_factory):
    """What two processes that have joined a gloo group leave."""
    folder = tmp_path_factory.mktemp("two")
    ids = torch.from_numpy(parts[0].ids)
    torch.save({"counts": counts, "model": model.state_dict(), "ids": ids}, folder / "setting.pt")
    spawn(join, (folder,), nprocs=2)
    return folder


def join(process, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/join", rank=process, world_size=2, timeout=timedelta(seconds=60)
    )
    contrast_gradient(process, folder)
    train_half(process, folder)
    dist.destroy_process_group()


def heads_and_inputs():
    torch.manual_seed(0)
    heads = nn.ModuleList([nn.Linear(6, 5), nn.Linear(4, 5)]).double()
    return heads, torch.randn(8, 6).double(), torch.randn(8, 4).double()


def contrast_gradient(process, folder):
    """Each process's gradient of the global contrast, in both ways, from its half of the rows."""
    heads, v, w = heads_and_inputs()
    half = slice(4 * process, 4 * process + 4)
    for gradient in (True, False):
        heads.zero_grad()
        z_table, z_text = gather(heads[0](v[half]), gradient), gather(heads[1](w[half]), gradient)
        info_nce(z_table, z_text, 0.7).backward()
        found = [p.grad for p in heads.parameters()]
        torch.save(found, folder / f"{'with' if gradient else 'without'}-{process}.pt")


def test_gathering_with_gradient_is_exact_and_without_it_is_half(folder):
    heads, v, w = heads_and_inputs()
    info_nce(heads[0](v), heads[1](w), 0.7).backward()
    for p, *grads in zip(heads.parameters(), *(load(folder, f"with-{r}") for r in range(2)), strict=True):
        torch.testing.assert_close(sum(grads) / 2, p.grad, rtol=1e-5, atol=1e-7)
    for p, *grads in zip(heads.parameters(), *(load(folder, f"without-{r}") for r in range(2)), strict=True):
        torch.testing.assert_close(sum(grads) / 2, p.grad / 2, rtol=1e-5, atol=1e-7)


def load(folder, name):
    return torch.load(folder / f"{name}.pt", weights_only=True)


def train_half(process, folder):
    """Pretrain as one of two processes; the first leaves its history and weights."""
    given = load(folder, "setting")
    table = open_table("planted-tiny")
    own = {"embedding_dim": 4, "cross_layers": 3, "hidden": [12, 6], "dropout": 0.0, "batch_norm": False}
    id_model = DCNv2(table.num_features, 8, **own)
    store = TokenStore.build(table, load_tokenizer("small", table))
    encoder = TinyEncoder(store.vocab_size, dropout=0.0)
    settings = PretrainSettings(**RATE)
    model = Pretraining(id_model, encoder, settings, given["counts"])
    model.load_state_dict(given["model"])
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert world_size() == 2
    assert rank() == process
    done = pretrain(model, given["ids"].numpy(), store, Streams(5))
    losses = [e.loss for e in done]
    torch.save({"losses": losses, "model": model.state_dict()}, folder / f"done-{process}.pt")


def test_two_processes_follow_one(folder, model, parts, store):
    one = [e.loss for e in pretrain(model, parts[0].ids, store, Streams(5))]  # 20 steps
    first, second = load(folder, "done-0"), load(folder, "done-1")
    assert first["losses"] == second["losses"]
    assert first["losses"] == pytest.approx(one, rel=1e-6, abs=1e-5)  # losses near 46, where float32's step is 4e-6
    assert one[-1] < 0.8 * one[0]
    for name, weights in model.state_dict().items():
        assert torch.equal(first["model"][name], second["model"][name])
        if name != "encoder.qkv.bias":  # a key's bias leaves softmax as it is: rounding alone moves it
            torch.testing.assert_close(first["model"][name], weights, rtol=1e-3, atol=2e-4)


def test_alone_there_is_nothing_to_gather():
    z = torch.randn(3, 2)
    assert gather(z, True) is z
    assert (world_size(), rank()) == (1, 0)
