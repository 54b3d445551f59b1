"""Pretraining as a whole: equivalences, ablations, and where gradients go."""

import dataclasses

import pytest
import torch

from flipbench.methods.flip.settings import PAPER, RELEASED, PretrainSettings
from flipbench.text.tokens import TokenBatch

FLAVOURS = {"paper": dataclasses.asdict(PAPER.pretrain), "released": dataclasses.asdict(RELEASED.pretrain)}


def losses_of(model, batch):
    return model(batch.ids, batch.text, batch.masks)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(ours, theirs, rtol=1e-4, atol=1e-6):
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("name", FLAVOURS)
def test_one_shared_clean_pass_is_two_separate_ones(build, draw, name):
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


@pytest.mark.parametrize("name", ["paper"])
def test_padding_changes_neither_losses_nor_gradients(build, draw, store, name):
    model = build(**FLAVOURS[name])
    batch = draw(model.settings)
    length = batch.text.tokens.shape[1]
    more = 13

    def padded(tensor, value):
        return torch.nn.functional.pad(tensor, (0, more), value=value)

    text = TokenBatch(padded(batch.text.tokens, store.pad_id), batch.text.lengths, padded(batch.text.field_of, -1))
    at = batch.masks.text.positions
    mask = dataclasses.replace(
        batch.masks.text,
        tokens=padded(batch.masks.text.tokens, store.pad_id),
        positions=at // length * (length + more) + at % length,
    )
    longer = dataclasses.replace(batch, text=text, masks=dataclasses.replace(batch.masks, text=mask))
    a, b = losses_of(model, batch), losses_of(model, longer)
    for term in a:
        torch.testing.assert_close(a[term], b[term], rtol=1e-5, atol=1e-6)
    assert_same(gradients(model, model.total(a)), gradients(model, model.total(b)))


def test_attending_to_padding_is_the_released_codes_alone(build, draw):
    clean, padded = build(), build(mtm_padding=True)
    batch = draw(clean.settings)
    assert (batch.text.lengths < batch.text.tokens.shape[1]).any()
    a, b = losses_of(clean, batch), losses_of(padded, batch)
    assert torch.equal(a["mlm"], b["mlm"])
    assert torch.equal(a["icl"], b["icl"])
    assert not torch.equal(a["mtm"], b["mtm"])


@pytest.mark.parametrize("off", [("mlm",), ("mtm",), ("icl",), ("mlm", "mtm")])
def test_an_objective_that_is_off_leaves_no_trace(build, draw, off):
    full, less = build(), build(**dict.fromkeys(off, False))
    batch = draw(full.settings)
    losses = losses_of(less, draw(less.settings))
    assert losses.keys() == {"mlm", "mtm", "icl"} - set(off)
    for name, parameter in less.named_parameters():
        assert name.split(".")[0] not in off, parameter.shape
    for head in off:
        assert getattr(less, head) is None
    less.load_state_dict(full.state_dict(), strict=False)
    whole = losses_of(full, batch)
    for term, loss in losses_of(less, draw(less.settings)).items():
        assert torch.equal(loss, whole[term])


@pytest.mark.parametrize("name", FLAVOURS)
def test_without_joint_reconstruction_the_heads_see_one_modality(build, draw, name):
    joint, apart = build(**FLAVOURS[name]), build(**FLAVOURS[name] | {"joint_reconstruction": False})
    table, text = joint.id_model.representation_dim, joint.encoder.hidden_size

    def mtm_inputs(model):
        head = model.mtm.predictor
        return head.first.shape[1] if name == "paper" else head.in_features

    assert joint.mlm.output[0].in_features == text + table
    assert apart.mlm.output[0].in_features == text
    assert mtm_inputs(joint) == (text if name == "paper" else text + table)
    assert mtm_inputs(apart) == table
    assert not hasattr(apart.mtm, "attention")
    batch = draw(apart.settings)
    losses = losses_of(apart, batch)
    mlm, mtm = gradients(apart, losses["mlm"]), gradients(apart, losses["mtm"])
    assert not any(key.startswith("id_model") for key in mlm)
    assert not any(key.startswith("encoder") for key in mtm)


SWITCHES = [
    ({"icl_head": "residual"}, {"icl"}),
    ({"icl_similarity": "unit"}, {"icl"}),
    ({"temperature": 0.5}, {"icl"}),
    ({"mtm_query": "norm"}, {"mtm"}),
    ({"mtm_scale": False}, {"mtm"}),
    ({"mtm_head": "linear"}, {"mtm"}),
    ({"mtm_loss": "nce"}, {"mtm"}),
    ({"noise": 5}, {"mtm"}),
    ({"table_mask_ratio": 0.6}, {"mtm"}),
    ({"mlm_average": "token"}, {"mlm"}),
    ({"mask_unit": "token"}, {"mlm"}),
    ({"text_mask_ratio": 0.6}, {"mlm"}),
    ({"icl_weight": 0.125}, set()),
    ({"icl_gather": "no-gradient"}, set()),
]


@pytest.mark.parametrize(("change", "moved"), SWITCHES, ids=[next(iter(c)) for c, _ in SWITCHES])
def test_a_switch_changes_what_it_says_and_nothing_else(build, draw, change, moved):
    plain, changed = build(), build(**change)
    own = changed.state_dict()
    same = {k: v for k, v in plain.state_dict().items() if k in own and own[k].shape == v.shape}
    changed.load_state_dict(same, strict=False)
    a, b = losses_of(plain, draw(plain.settings)), losses_of(changed, draw(changed.settings))
    assert {term for term in a if not torch.equal(a[term], b[term])} == moved


def test_the_weight_of_icl_is_in_the_total_alone(build, draw):
    model = build(icl_weight=0.125)
    losses = losses_of(model, draw(model.settings))
    expected = losses["mlm"] + losses["mtm"] + 0.125 * losses["icl"]
    torch.testing.assert_close(model.total(losses), expected)


@pytest.mark.parametrize("name", FLAVOURS)
@pytest.mark.parametrize("backbone", ["deepfm", "autoint", "dcnv2", "dcnv2_mix", "pnn", "afn"])
def test_gradients_reach_all_that_the_losses_use_and_nothing_else(build, draw, name, backbone):
    model = build(id_model=backbone, **FLAVOURS[name]).train()
    found = gradients(model, model.total(losses_of(model, draw(model.settings))))
    without = {key for key, _ in model.named_parameters() if key not in found}
    # the click head was never asked, and DeepFM alone has its first-order term within the representation
    unused = {"id_model.head.weight", "id_model.head.bias"}
    if backbone not in ("deepfm", "pnn"):
        unused |= {"id_model.linear.weight"}
    assert without == unused
    dead = [key for key, g in found.items() if not g.abs().sum() > 0]
    assert dead == []


def test_the_mask_feature_learns_from_masked_tables_alone(build, draw):
    model = build()
    losses = losses_of(model, draw(model.settings))
    mask_row = {}
    for term, loss in losses.items():
        model.zero_grad()
        loss.backward(retain_graph=True)
        mask_row[term] = model.id_model.embed.weight.grad[0].abs().sum().item()
    assert mask_row["mtm"] > 0
    assert mask_row["mlm"] == mask_row["icl"] == 0


def test_bfloat16_keeps_the_id_model_and_the_losses_in_float32(build, draw):
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


def test_the_real_small_plm_fits_the_interface(build_id, counts, store, table, draw):
    from flipbench.methods.flip.model import Pretraining
    from flipbench.models.encoder import load

    encoder = load("small", table=table, dropout=0.0)
    model = Pretraining(build_id(), encoder, PretrainSettings(), counts)
    batch = draw(model.settings)
    losses = losses_of(model.eval(), batch)
    assert losses["mlm"].item() == pytest.approx(torch.tensor(float(store.vocab_size)).log().item(), rel=0.1)
    assert losses["mtm"].item() == pytest.approx(18.02, abs=0.5)
    assert torch.isfinite(model.total(losses))
