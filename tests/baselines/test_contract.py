"""What every ID-based model owes, whatever its equation."""

import inspect
import re

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from flipbench import metrics
from flipbench.errors import UserError
from flipbench.models import contract
from flipbench.plan import registry
from flipbench.run.contract import CHECKS, check
from flipbench.train.config import TrainConfig
from flipbench.train.id_models import adam
from flipbench.train.row_adam import RowAdam


@pytest.mark.parametrize("part", CHECKS)
def test_the_contract(name, part, subject_of):
    assert check(part, subject_of(name))


def test_a_default_in_the_constructor_is_what_keys_leave_out(cls):
    keywords = inspect.signature(cls).parameters.values()
    unkeyed = {name: setting.unkeyed for name, setting in cls.settings.items() if setting.unkeyed is not None}
    assert {p.name: p.default for p in keywords if p.default is not p.empty} == unkeyed
    assert [p.name for p in keywords if p.kind is p.KEYWORD_ONLY] == list(cls.settings)


def test_the_summary_names_paper_and_equation(name):
    assert re.fullmatch(r".+ \(.+ et al\., .+ \d{4}, eq\. .+\)\.", registry.get(name).summary)


def test_score_of_the_representation_is_the_logit(build, name, ids):
    contract.check_forward(build(name, std=0.3), ids)


def test_in_evaluation_batch_mates_do_not_matter(build, name, ids):
    settings = {} if name == "afm" else {"batch_norm": True}
    model = build(name, std=0.3, **settings)
    for _ in range(3):  # running statistics that are not the start values
        model.train()(ids)
    contract.check_rows(model, ids)


def test_int32_and_int64_ids_are_the_same(build, name, ids):
    contract.check_ids(build(name, std=0.3), ids)


def test_the_mask_feature_has_a_row_like_any_other(build, name, ids):
    model = build(name, std=0.3).eval()
    masked = ids.clone()
    masked[:, 1] = 0
    assert not torch.allclose(model(masked), model(ids))


@pytest.mark.parametrize("std", [None, 0.3], ids=["declared start", "redrawn"])
def test_gradient_reaches_every_parameter(build, name, ids, std):
    contract.check_gradients(build(name, std=std), ids, (ids[:, 0] % 2).float())


def test_the_representation_overfits_64_rows(build, name, ids):
    """Without the first-order term, so that the model's own equation has to do it."""
    model = build(name)
    labels = torch.randint(0, 2, (len(ids),), generator=torch.Generator().manual_seed(4))
    if model.linear is not None:
        model.linear.weight.requires_grad_(False).zero_()
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=2e-2)
    for _ in range(150):
        loss = binary_cross_entropy_with_logits(model(ids), labels.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert metrics.auc(labels.numpy(), model.eval()(ids).detach().numpy()) > 0.95


def test_the_first_order_term_is_in_all_but_pnn(build, name, ids):
    model = build(name, std=0.3).eval()
    before = model(ids)
    assert (model.linear is None) == (name == "pnn")
    if model.linear is None:
        assert torch.equal(model.first_order(ids), torch.zeros(len(ids)))
        assert model.embedding_tables() == [model.embed.weight]
        return
    with torch.no_grad():
        model.linear.weight += 1.0
    torch.testing.assert_close(model(ids), before + ids.shape[1], rtol=1e-4, atol=1e-4)
    assert [id(t) for t in model.embedding_tables()] == [id(model.embed.weight), id(model.linear.weight)]


def test_the_second_table_of_afn_plus_is_a_table_like_the_others(build, ids):
    """L2 shrinks it; by rows, Adam is the same Adam on it."""
    tables = []
    for least in (1, 1 << 18):
        model = build("afn", ensemble=True, batch_norm=False)
        model.neurons.bias.requires_grad_(False)  # a norm follows: its gradient is rounding, of which Adam makes steps
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("flipbench.train.id_models.MIN_ROWS", least)
            optimizer = adam(model, TrainConfig(1e-2, batch_size=64, max_epochs=1))
        assert isinstance(optimizer, RowAdam) == (least == 1)
        for batch in ids[:30].split(5) * 3:
            if isinstance(optimizer, RowAdam):
                optimizer.catch_up(batch)
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(model(batch), (batch[:, 0] % 2).float()).backward()
            optimizer.step()
        if isinstance(optimizer, RowAdam):
            optimizer.catch_up()
        tables.append(model.deep_embed.weight)
    assert model.embedding_tables()[-1] is model.deep_embed.weight
    torch.testing.assert_close(*tables, rtol=1e-3, atol=1e-4)
    assert tables[0].abs().min(1).values[1:].max() > 0.01, "the table has moved"
    decays = adam(model, TrainConfig(1e-2, batch_size=64, max_epochs=1, embedding_l2=0.5)).param_groups
    assert [g["weight_decay"] for g in decays if any(p is model.deep_embed.weight for p in g["params"])] == [0.5]


def test_the_start_has_the_declared_scale(build, name):
    model = build(name, embedding_dim=400)
    assert model.embed.weight.std().item() == pytest.approx(1e-4, rel=0.05)
    assert not model.head.bias.detach().any()


def test_batch_norm_and_dropout_are_as_set(build, name, ids):
    settings = {"dropout": 0.5} | ({} if name == "afm" else {"batch_norm": True})
    model = build(name, std=0.3, **settings)
    kinds = [type(m).__name__ for m in model.modules()]
    if name != "afm":
        assert kinds.count("BatchNorm1d") == 2 + (2 if name == "afn" else 0)
        assert kinds.index("BatchNorm1d", kinds.index("MLP")) < kinds.index("ReLU")
    assert not torch.allclose(model.train()(ids), model(ids))
    assert torch.equal(model.eval()(ids), model(ids))


def test_seed_decides_the_start(build, name):
    first, second = build(name), build(name)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def as_declared(name):
    cls = registry.get(name).load()
    return cls(10, 8, **{key: setting.value for key, setting in cls.settings.items()})


def test_dcnv2_mix_has_the_released_size():
    """347,112 = cross 140,800 + deep 205,928 + output weights 384; the output bias and the tables are not counted."""
    model = as_declared("dcnv2_mix")
    tables = sum(p.numel() for p in model.embedding_tables())
    assert sum(p.numel() for p in model.parameters()) - tables - model.head.bias.numel() == 347_112


SIZES = {"afm": 32, "afn": 128, "autoint": 384, "dcn": 384, "dcnv2": 384, "dcnv2_mix": 384, "deepfm": 129, "pnn": 128}
SIZES |= {"wide_deep": 128, "xdeepfm": 384}


def test_representation_size_at_eight_fields(name):
    assert as_declared(name).representation_dim == SIZES[name]


def test_settings_that_do_not_fit_each_other_are_named(build):
    with pytest.raises(UserError, match=r"heads: 3 does not divide embedding_dim 32; nearest: 2$"):
        build("autoint", heads=3, embedding_dim=32)
    with pytest.raises(UserError, match=r"heads: 5 does not divide attention_dim 12; nearest: 4$"):
        build("autoint", heads=5, embedding_dim=10, attention_dim=12)
    with pytest.raises(UserError, match=r"cin: 7 cannot be split in half \(split_half is on\); nearest: 8$"):
        build("xdeepfm", cin=[7, 4])
    assert build("xdeepfm", cin=[7, 4], split_half=False).representation_dim == 7 + 4 + 6
