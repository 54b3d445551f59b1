"""Heads and losses against the equations and the known values."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from flipbench.methods.flip.heads import CrossAttention, FeatureOutput, FieldLinear, FieldMLPs
from flipbench.methods.flip.objectives import (
    InstanceContrast,
    MaskedLanguage,
    MaskedTable,
    candidate_loss,
    info_nce,
)
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.models.mlm_head import token_loss
from flipbench.models.precision import autocast
from flipbench.text.masking import TextMask

COUNTS = torch.tensor([0, 900, 50, 30, 20, 400, 600, 1, 0])
K = 25
CANDIDATES = torch.randint(1, 8, (512, 3, 1 + K), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("nce", "loss"), [(True, 4.24), (False, 18.02)])
def test_nce_starts_at_4_24_and_equation_10_at_18_02(nce, loss):
    start = candidate_loss(FeatureOutput(COUNTS, 32, K, nce)(torch.zeros(512, 3, 32), CANDIDATES)).item()
    exact = math.log(26) + 25 * math.log(1 + 1 / 25) if nce else 26 * math.log(2)
    assert start == pytest.approx(exact, abs=1e-5)
    assert round(start, 2) == loss


def test_nce_logits_at_the_start():
    output = FeatureOutput(COUNTS, 32, K, nce=True)
    h, every = torch.randn(1, 1, 32), torch.arange(len(COUNTS)).view(1, 1, -1)
    torch.testing.assert_close(output(h, every)[0, 0], output.table.weight @ h[0, 0] - math.log(K))


def test_nce_takes_back_the_learned_frequency():
    output = FeatureOutput(COUNTS, 32, K, nce=True)
    q = (COUNTS / COUNTS.sum()).clamp(min=1e-10).double()
    correction = (-math.log(len(COUNTS)) - (q / q.sum()).log() - math.log(K)).float()
    torch.testing.assert_close(output.offset, correction)
    h = torch.randn(512, 3, 32)
    naive = torch.einsum("bnd,bncd->bnc", h, output.table.weight[CANDIDATES]) + output.bias.weight[CANDIDATES, 0]
    torch.testing.assert_close(output(h, CANDIDATES), naive + correction[CANDIDATES])
    assert "offset" not in output.state_dict(), "it follows from the counts"


def test_candidate_loss_of_large_logits():
    assert torch.isfinite(candidate_loss(torch.full((1, 1, 3), 1e4)))


def contrast(**settings):
    torch.manual_seed(1)
    return InstanceContrast(PretrainSettings(**settings), 20, 16).eval()


@pytest.mark.parametrize("head", ["linear", "residual"])
def test_projections_have_norm_sqrt_128(head):
    icl = contrast(icl_head=head)
    for z in (icl.project_table(torch.randn(9, 20)), icl.project_text(torch.randn(9, 16))):
        torch.testing.assert_close(z.norm(dim=1), torch.full((9,), math.sqrt(128)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("head", ["linear", "residual"])
def test_unit_vectors_scale_the_temperature(head):
    v, cls = torch.randn(32, 20), torch.randn(32, 16)
    dot = contrast(icl_head=head)(v, cls)
    unit = contrast(icl_head=head, icl_similarity="unit", temperature=0.7 / 128)(v, cls)
    torch.testing.assert_close(dot, unit, rtol=1e-3, atol=1e-4)
    kept = contrast(icl_head=head, icl_similarity="unit")(v, cls)
    assert not torch.allclose(dot, kept, rtol=0.01), "unit vectors at the same temperature are another method"


def test_contrastive_logits_are_float32_under_autocast():
    z = nn.functional.layer_norm(torch.randn(64, 128), (128,))
    w = z + 0.05 * torch.randn(64, 128)
    full = info_nce(z, w, 0.7)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(info_nce(z, w, 0.7), full)
        mixed = info_nce(z.bfloat16(), w.bfloat16(), 0.7)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, info_nce(z.bfloat16().float(), w.bfloat16().float(), 0.7))


def test_the_tabular_loss_is_float32_under_autocast():
    output, h = FeatureOutput(COUNTS, 32, K, nce=True), torch.randn(512, 3, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(output(h, CANDIDATES), output(h.float(), CANDIDATES))


def test_the_tabular_gradient_survives_autocast():
    """At TinyBERT's and DCN-Mix's sizes: rounded scores, not divided by √D_text, would move it by several percent."""
    torch.manual_seed(0)
    settings = PretrainSettings(mtm_query="norm", mtm_scale=False, mtm_padding=True, mtm_head="linear", mtm_loss="nce")
    mtm = MaskedTable(settings, 384, 312, 8, COUNTS)
    w = nn.functional.layer_norm(torch.randn(256, 50, 312), (312,)).bfloat16().float()  # as the PLM leaves it
    v, fields, candidates = torch.randn(256, 384), torch.randint(0, 8, (256, 1)), CANDIDATES[:256, :1]

    def gradient(precision):
        inputs = v.clone().requires_grad_(), (w if precision == "float32" else w.bfloat16()).requires_grad_()
        with autocast(precision, torch.device("cpu")):
            loss = mtm(*inputs, torch.ones(256, 50, dtype=torch.bool), fields, candidates)
        grads = torch.autograd.grad(loss, [inputs[0], *mtm.attention.parameters()])
        return torch.cat([g.flatten() for g in grads])

    full, mixed = gradient("float32"), gradient("bfloat16")
    assert (mixed - full).norm() < 0.01 * full.norm()


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_cross_attention_is_equation_7(scale, norm):
    torch.manual_seed(0)
    layer = CrossAttention(20, 16, norm, scale)
    v, w = torch.randn(5, 20), torch.randn(5, 9, 16)
    attended = torch.arange(9) < torch.tensor([9, 3, 1, 5, 8]).unsqueeze(1)
    q = layer.query(v)
    for row in range(5):
        real = w[row, attended[row]]
        a = torch.softmax(real @ q[row] / (4 if scale else 1), 0)
        torch.testing.assert_close(layer(v, w, attended)[row], a @ real)
    torch.testing.assert_close(layer(v, w, None), layer(v, w, torch.ones(5, 9, dtype=torch.bool)))
    assert len(list(layer.parameters())) == (4 if norm else 1)


def test_field_predictors_are_independent_and_as_wide_as_said():
    mlps, linear = FieldMLPs(16, 8, 10, 32), FieldLinear(20, 8, 32)
    x = torch.randn(5, 16)
    h = mlps(x)
    for f in range(8):
        one = (x @ mlps.first[f] + mlps.first_bias[f, 0]).relu() @ mlps.second[f] + mlps.second_bias[f, 0]
        torch.testing.assert_close(h[:, f], one)
    assert linear(torch.randn(5, 20)).shape == (5, 8, 32)


@pytest.mark.parametrize("average", ["sample", "token"])
@pytest.mark.parametrize("joint", [True, False])
def test_masked_positions_suffice(average, joint):
    torch.manual_seed(0)
    tokens, chosen = torch.randint(0, 40, (6, 11)), torch.rand(6, 11) < 0.3
    chosen[2] = False  # a row without a masked token
    mask = TextMask(tokens, chosen.flatten().nonzero().squeeze(1), tokens[chosen])
    mlm = MaskedLanguage(PretrainSettings(mlm_average=average, joint_reconstruction=joint), 20, 16, 40).eval()
    w, v = torch.randn(6, 11, 16, requires_grad=True), torch.randn(6, 20, requires_grad=True)
    gathered = mlm(w.flatten(0, 1)[mask.positions], v if joint else None, mask, tokens.shape)

    x = torch.cat([w, v.unsqueeze(1).expand(-1, 11, -1)], dim=2) if joint else w
    targets = tokens.where(chosen, -100)
    each = cross_entropy(mlm.output(x).flatten(0, 1), targets.flatten(), reduction="none").view(6, 11)
    n = chosen.sum(1)
    full = (each.sum(1) / n.clamp(min=1)).mean() if average == "sample" else each.sum() / n.sum()
    torch.testing.assert_close(gathered, full)
    gradients = [torch.autograd.grad(loss, [w, *mlm.parameters()]) for loss in (gathered, full)]
    torch.testing.assert_close(*gradients)


def test_averages_differ_by_the_weight_of_long_values():
    logits, targets, rows = torch.randn(4, 9), torch.tensor([1, 2, 3, 4]), torch.tensor([0, 1, 1, 1])
    each = cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(token_loss(logits, targets, rows, 2, True), (each[0] + each[1:].mean()) / 2)
    torch.testing.assert_close(token_loss(logits, targets, rows, 2, False), each.mean())
    for per_sample in (True, False):
        assert token_loss(logits[:0], targets[:0], rows[:0], 2, per_sample).item() == 0.0, "not NaN"


def test_a_bfloat16_prediction_is_scored_in_float32():
    logits, targets, rows = torch.randn(5, 9).bfloat16(), torch.arange(5), torch.zeros(5, dtype=torch.int64)
    loss = token_loss(logits, targets, rows, 1, True)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(logits.float(), targets), rtol=1e-6, atol=0)
