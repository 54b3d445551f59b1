"""Two processes on gloo against one."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from tiny_flip import align, build
from torch import nn
from torch.multiprocessing import spawn

from flipbench.methods.flip.objectives import info_nce
from flipbench.train.config import TrainConfig
from flipbench.train.distributed import gather, rank, world_size

CONFIG = TrainConfig(1e-2, batch_size=64, max_epochs=4, weight_decay=1e-3)  # of five steps an epoch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes that have joined a gloo group leave."""
    folder = tmp_path_factory.mktemp("two")
    spawn(join, (folder,), nprocs=2)
    return folder


def join(process, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/join", rank=process, world_size=2, timeout=timedelta(seconds=60)
    )
    assert (world_size(), rank()) == (2, process)
    torch.save(contrast_gradients(process), folder / f"gradients-{process}.pt")
    model = build()
    losses = [e.figures["loss"] for e in align(model, CONFIG, seed=5).history]
    torch.save({"losses": losses, "model": model.state_dict()}, folder / f"trained-{process}.pt")
    dist.destroy_process_group()


def load(folder, name):
    return torch.load(folder / f"{name}.pt", weights_only=True)


def heads_and_inputs():
    torch.manual_seed(0)
    heads = nn.ModuleList([nn.Linear(6, 5), nn.Linear(4, 5)]).double()
    return heads, torch.randn(8, 6).double(), torch.randn(8, 4).double()


def contrast_gradients(process):
    """The process's gradients of the global contrast from its half of the rows, by whether gathering has a gradient."""
    heads, v, w = heads_and_inputs()
    half = slice(4 * process, 4 * process + 4)
    gradients = {}
    for with_gradient in (True, False):
        heads.zero_grad()
        z_table, z_text = gather(heads[0](v[half]), with_gradient), gather(heads[1](w[half]), with_gradient)
        info_nce(z_table, z_text, 0.7).backward()
        gradients[with_gradient] = [p.grad.clone() for p in heads.parameters()]
    return gradients


@pytest.mark.parametrize(("with_gradient", "share"), [(True, 1), (False, 1 / 2)])
def test_gather_gradient(folder, with_gradient, share):
    heads, v, w = heads_and_inputs()
    info_nce(heads[0](v), heads[1](w), 0.7).backward()
    first, second = (load(folder, f"gradients-{process}")[with_gradient] for process in range(2))
    for p, a, b in zip(heads.parameters(), first, second, strict=True):
        torch.testing.assert_close((a + b) / 2, p.grad * share, rtol=1e-5, atol=1e-7)


def test_two_processes_follow_one(folder):
    model = build()
    one = [e.figures["loss"] for e in align(model, CONFIG, seed=5).history]  # 20 steps
    first, second = load(folder, "trained-0"), load(folder, "trained-1")
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
