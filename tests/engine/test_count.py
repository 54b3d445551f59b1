"""What a step does, counted: against known values, torch's own counter, and itself under other conditions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from flipbench import registry
from flipbench.data.store import fingerprint
from flipbench.engine import fit
from flipbench.engine.calibrate import train_until
from flipbench.engine.count import OpCounter, count
from flipbench.engine.streams import make_deterministic
from flipbench.nn.precision import autocast
from flipbench.plan import resolve
from flipbench.roofline import Op
from flipbench.stage import Where, final
from flipbench.text import packed

TINY = {"max_epochs": 2, "embedding_dim": 4, "hidden": [8]}


def counted(work):
    counter = OpCounter()
    with counter:
        work()
    return counter.ops()


def flops(ops):
    return sum(op.times * op.flops for op in ops)


def stage(method="dcnv2", seed=0, **own):
    declared = registry.get(method)
    where = Where("held-out", "planted-tiny", fingerprint("planted-tiny"), "chronological")
    return final(where, declared, resolve(declared, own), seed).parents["fit"].parents["select"]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None, max_examples=25)
def test_a_product_has_its_arithmetic_and_each_matrix_once(m, k, n):
    a, b = torch.ones(m, k), torch.ones(k, n)
    assert counted(lambda: a @ b) == (Op("float32", 2 * m * k * n, 4 * (m * k + k * n + m * n), 1),)


def test_views_and_allocations_are_nothing():
    x = torch.ones(4, 6)
    assert counted(lambda: (x.t()[:2].reshape(2, 4).unsqueeze(1).expand(2, 3, 4), torch.empty(9), x.detach())) == ()


def test_traffic_of_elementwise_operations():
    x, y = torch.ones(8), torch.ones(8)
    assert counted(lambda: x + y) == (Op("float32", 0, 3 * 32, 1),)
    assert counted(lambda: x.add_(y)) == (Op("float32", 0, 3 * 32, 1),), "what is changed is read and written"
    assert counted(lambda: torch.add(x, 1, out=y)) == (Op("float32", 0, 3 * 32, 1),)
    assert counted(torch.ones(1).expand(1000).sum) == (Op("float32", 0, 4 + 4, 1),), "an expanded tensor's own memory"
    assert counted(lambda: (x + y, x + y)) == (Op("float32", 0, 3 * 32, 2),), "equal operations are counted together"


def test_a_gather_reads_the_rows_it_returns_and_a_scatter_no_others():
    table, rows = torch.ones(10_000, 4), torch.tensor([3, 5, 5])
    for gather in (
        lambda: table.index_select(0, rows),
        lambda: table[rows],
        lambda: nn.functional.embedding(rows, table),
    ):
        (op,) = counted(gather)
        assert op.traffic == 3 * 8 + 2 * 3 * 4 * 4
    new = torch.ones(3, 4)
    for scatter in (lambda: table.index_add_(0, rows, new), lambda: table.index_put_((rows,), new)):
        assert [op.traffic for op in counted(scatter)] == [3 * 8 + 3 * 4 * 4 + 2 * 3 * 4 * 4]


def test_products_under_autocast_are_bfloat16():
    layer, x = nn.Linear(16, 16), torch.ones(8, 16)

    def step():
        with autocast("bfloat16", torch.device("cpu")):
            layer(x).sum().backward()

    products = [op for op in counted(step) if op.flops]
    assert {op.dtype for op in products} == {"bfloat16"}
    assert flops(products) == 2 * 2 * 8 * 16 * 16, "forward, and the weights' gradient"


def test_the_fused_optimiser_reads_and_writes_weights_gradients_and_moments():
    weights = nn.Parameter(torch.ones(1000))
    optimiser = torch.optim.Adam([weights], fused=True)
    weights.grad = torch.ones(1000)
    optimiser.step()
    largest = max(counted(optimiser.step), key=lambda op: op.traffic)
    assert 7 * 4000 <= largest.traffic <= 8 * 4000 + 16, "four read; three or four written, and the step's number"


@pytest.mark.parametrize("inference", [False, True])
def test_arithmetic_is_that_of_torchs_counter(inference):
    """Also of attention by one operator, and in inference mode, where composite operators arrive whole."""
    make_deterministic(1)
    first, second, x = nn.Linear(16, 48), nn.Linear(16, 4), torch.randn(3, 2, 5, 16)

    def work():
        with torch.inference_mode(inference):
            q, k, v = first(x).split(16, dim=3)
            loss = second(nn.functional.scaled_dot_product_attention(q, k, v)).sum()
        if not inference:
            loss.backward()

    with FlopCounterMode(display=False) as theirs:
        work()
    assert theirs.get_total_flops() > 0
    attention = 2 * (2 * 6 * 5 * 5 * 16)  # q·k and weights·v; torch's counter has no formula of the CPU's operator
    backward = 0 if inference else 5 * attention // 2  # five products, one of them forward's again
    assert flops(counted(work)) == theirs.get_total_flops() + attention + backward


def test_counts_are_of_the_kind_alone():
    first = count(stage(batch_size=256, **TINY))
    assert flops(first.step) > 0
    assert count(stage(seed=3, batch_size=256, learning_rate=1e-5, **TINY)).step == first.step
    double = count(stage(batch_size=512, **TINY))
    assert flops(double.step) == 2 * flops(first.step)
    assert sum(op.times for op in double.step) == sum(op.times for op in first.step)
    assert flops(double.scoring) / double.scored == pytest.approx(flops(first.scoring) / first.scored)
    assert first.rows == 4000
    assert first.setup > 0


def test_a_step_is_three_times_its_forward():
    """Of products: backward takes two for each of forward's, but for what is multiplied with the ids' embeddings."""
    work = count(stage(batch_size=256, **TINY))
    forward = 256 * flops(work.scoring) / work.scored
    assert 2.4 * forward <= flops(work.step) <= 3 * forward


def test_the_way_of_a_gpu_computes_padding_too_and_is_left_again():
    pretraining = stage("flip_id", plm="small", **{"pretrain.batch_size": 64, "pretrain.epochs": 1}).parents["pretrain"]
    own = packed.can_pack, fit.LARGE
    here, there = count(pretraining, gpu=False), count(pretraining)
    assert (packed.can_pack, fit.LARGE) == own
    assert flops(there.step) > flops(here.step)
    assert (there.scoring, there.scored) == ((), 0)
    assert here.memory_mb >= 0


def test_recorded_steps_are_counted_on_a_cpu_alone(monkeypatch):
    eager = count(stage(batch_size=256, **TINY), gpu=False)
    monkeypatch.setattr(fit, "WORTH", 0)
    here, there = count(stage(batch_size=256, **TINY), gpu=False), count(stage(batch_size=256, **TINY))
    assert there.step == eager.step
    assert flops(here.step) == flops(there.step)
    assert sum(op.times for op in here.step) < sum(op.times for op in there.step)


def test_a_training_of_one_step_cannot_be_counted():
    with pytest.raises(RuntimeError, match="no training steps to count"):
        count(stage(batch_size=4096, **{**TINY, "max_epochs": 1}))


def test_a_step_that_calls_its_base_classs_is_one():
    class Twice(torch.optim.Adam):
        def step(self, closure=None):
            return super().step(closure)

    weights = nn.Parameter(torch.ones(1))
    torch.optim.Adam([weights])  # from now on the base class's step has hooks of its own
    optimiser, ended = Twice([weights]), []
    weights.grad = torch.ones(1)
    train_until(lambda: bool(ended.append(1)) or len(ended) == 3, lambda: [optimiser.step() for _ in range(9)])
    assert weights.item() == pytest.approx(1 - 3 * 1e-3), "it ended after the third"
