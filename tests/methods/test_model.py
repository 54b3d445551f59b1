"""Pretraining as a whole: equivalences, ablations, and where gradients go."""

from dataclasses import replace

import pytest
import torch
from tiny_flip import FLAVOURS, build, build_id, counts, draw, planted, tokens
from torch.nn.functional import pad

from flipbench.methods.flip.model import Pretraining
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.models.encoder import load
from flipbench.text.tokens import TokenBatch


def losses_of(model, batch):
    return model(batch.ids, batch.text, batch.masks)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("name", FLAVOURS)
def test_one_shared_clean_pass_is_two_separate_ones(name):
    model = build(**FLAVOURS[name])
    batch = draw(model.settings)
    model.encoder.calls = 0
    shared = losses_of(model, batch)
    assert model.encoder.calls == 2, "one clean pass, one masked"
    together = gradients(model, model.total(shared))
    separate, summed = {}, {}
    for term in shared:  # each objective alone makes its own passes
        only = build(**FLAVOURS[name] | {t: t == term for t in ("mlm", "mtm", "icl")})
        only.load_state_dict(model.state_dict(), strict=False)
        separate |= losses_of(only, batch)
        for key, value in gradients(only, only.total({term: separate[term]})).items():
            summed[key] = summed.get(key, 0) + value
    for term in shared:
        assert torch.equal(shared[term], separate[term])
    assert_same(together, summed)


def test_padding_changes_neither_losses_nor_gradients():
    model = build()
    batch = draw(model.settings)
    length, more = batch.text.tokens.shape[1], (0, 13)
    text = TokenBatch(
        pad(batch.text.tokens, more, value=tokens().pad_id),
        batch.text.lengths,
        pad(batch.text.field_of, more, value=-1),
    )
    at, masked = batch.masks.text.positions, pad(batch.masks.text.tokens, more, value=tokens().pad_id)
    mask = replace(batch.masks.text, tokens=masked, positions=at // length * (length + 13) + at % length)
    longer = replace(batch, text=text, masks=replace(batch.masks, text=mask))
    a, b = losses_of(model, batch), losses_of(model, longer)
    for term in a:
        torch.testing.assert_close(a[term], b[term], rtol=1e-5, atol=1e-6)
    assert_same(gradients(model, model.total(a)), gradients(model, model.total(b)))


@pytest.mark.parametrize("off", [("mlm",), ("mtm",), ("icl",), ("mlm", "mtm")])
def test_an_objective_that_is_off_leaves_no_trace(off):
    full, less = build(), build(**dict.fromkeys(off, False))
    assert not {name.partition(".")[0] for name, _ in less.named_parameters()} & {*off}
    less.load_state_dict(full.state_dict(), strict=False)
    whole, rest = losses_of(full, draw(full.settings)), losses_of(less, draw(less.settings))
    assert rest == {term: loss for term, loss in whole.items() if term not in off}


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("name", FLAVOURS)
def test_heads_see_one_modality(name, joint):
    model = build(**FLAVOURS[name], joint_reconstruction=joint)
    table, text, head = model.id_model.representation_dim, model.encoder.hidden_size, model.mtm.predictor
    assert model.mlm.output[0].in_features == text + (table if joint else 0)
    if name == "paper":
        assert head.first.shape[1] == (text if joint else table)
    else:
        assert head.in_features == table + (text if joint else 0)
    losses = losses_of(model, draw(model.settings))
    reached = {term: {key.partition(".")[0] for key in gradients(model, losses[term])} for term in ("mlm", "mtm")}
    assert ("id_model" in reached["mlm"]) == ("encoder" in reached["mtm"]) == joint


SWITCHES = {
    "icl": {"icl_head": "residual", "icl_similarity": "unit", "temperature": 0.5},
    "mtm": {
        **{"mtm_query": "norm", "mtm_scale": False, "mtm_padding": True, "mtm_head": "linear", "mtm_loss": "nce"},
        **{"noise": 5, "table_mask_ratio": 0.6},
    },
    "mlm": {"mlm_average": "token", "mask_unit": "token", "text_mask_ratio": 0.6},
    "none": {"icl_weight": 0.125, "icl_gather": "no-gradient"},
}
"""Settings with another value than the default's, by the loss that they change."""


@pytest.mark.parametrize(("loss", "name"), [(loss, name) for loss, switches in SWITCHES.items() for name in switches])
def test_a_switch_changes_what_it_says_and_nothing_else(loss, name):
    plain, changed = build(), build(**{name: SWITCHES[loss][name]})
    state = changed.state_dict()
    same = {k: v for k, v in plain.state_dict().items() if k in state and state[k].shape == v.shape}
    changed.load_state_dict(same, strict=False)
    a, b = losses_of(plain, draw(plain.settings)), losses_of(changed, draw(changed.settings))
    assert [term for term in a if not torch.equal(a[term], b[term])] == [term for term in a if term == loss]


@pytest.mark.parametrize("name", FLAVOURS)
@pytest.mark.parametrize("backbone", ["deepfm", "autoint", "dcnv2", "dcnv2_mix", "pnn", "afn"])
def test_gradients_reach_what_is_used(name, backbone):
    model = build(id_model=backbone, **FLAVOURS[name]).train()
    reached = gradients(model, model.total(losses_of(model, draw(model.settings))))
    # the click head was never asked, and DeepFM alone has its first-order term within the representation
    unused = {"id_model.head.weight", "id_model.head.bias"}
    if backbone not in ("deepfm", "pnn"):
        unused |= {"id_model.linear.weight"}
    assert {key for key, _ in model.named_parameters() if key not in reached} == unused
    assert [key for key, gradient in reached.items() if not gradient.abs().sum() > 0] == []


def test_the_mask_feature_learns_from_masked_tables_alone():
    model = build()
    losses = losses_of(model, draw(model.settings))
    mask_row = {}
    for term, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        mask_row[term] = model.id_model.embed.weight.grad[0].abs().sum().item()
    assert mask_row["mtm"] > 0
    assert mask_row["mlm"] == mask_row["icl"] == 0


def test_bfloat16_keeps_the_id_model_and_the_losses_in_float32():
    model = build()
    batch = draw(model.settings)
    full = losses_of(model, batch)
    seen = []
    original = model.id_model.represent
    model.id_model.represent = lambda ids: (seen.append(original(ids)), seen[-1])[1]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = losses_of(model, batch)
    assert {v.dtype for v in seen} == {torch.float32}
    assert torch.equal(seen[0], original(batch.ids))
    for term, loss in mixed.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, full[term], rtol=0.05, atol=0.02)


def test_the_real_small_plm_fits_the_interface():
    encoder = load("small", table=planted(), dropout=0.0)
    model = Pretraining(build_id(), encoder, PretrainSettings(), counts())
    batch = draw(model.settings)
    losses = losses_of(model.eval(), batch)
    assert losses["mlm"].item() == pytest.approx(torch.tensor(float(tokens().vocab_size)).log().item(), rel=0.1)
    assert losses["mtm"].item() == pytest.approx(18.02, abs=0.5)
    assert torch.isfinite(model.total(losses))
