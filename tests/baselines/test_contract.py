"""What every ID-based model owes, whatever its equation."""

import inspect
import re

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from flipbench import metrics
from flipbench.errors import UserError
from flipbench.plan import registry
from flipbench.plan.settings import Setting, check_value


def test_declared_settings_are_the_constructors_keywords(cls):
    parameters = inspect.signature(cls).parameters.values()
    keywords = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert [p.name for p in keywords] == list(cls.settings)
    assert all(p.default is inspect.Parameter.empty for p in keywords), "a hidden default"
    assert [p.name for p in parameters if p not in keywords] == ["features", "fields"]


def test_the_source_reader_and_the_class_agree(name, cls):
    declared = registry.get(name)
    assert declared.load() is cls
    assert registry._from_source(declared.target) == registry._from_class(declared.target)
    assert re.fullmatch(r".+ \(.+ et al\., .+ \d{4}, eq\. .+\)\.", declared.summary)


def test_grid_values_have_the_settings_types(cls):
    assert set(cls.grid) <= set(cls.settings)
    for key, values in cls.grid.items():
        setting = cls.settings[key]
        assert isinstance(setting, Setting)
        for value in [*values, setting.value]:
            assert check_value(key, key, value, setting.value) == value


def test_score_of_the_representation_is_the_logit(build, name, ids):
    model = build(name, std=0.3).eval()
    v = model.represent(ids)
    assert v.shape == (len(ids), model.representation_dim)
    assert v.dtype == torch.float32
    logits = model(ids)
    assert logits.shape == (len(ids),)
    assert torch.equal(model.score(ids, v), logits)


def test_permuting_the_batch_permutes_the_logits(build, name, ids):
    model = build(name, std=0.3).eval()
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(model(ids[order]), model(ids)[order], rtol=1e-5, atol=1e-5)


def test_in_evaluation_batch_mates_do_not_matter(build, name, ids):
    settings = {} if name == "afm" else {"batch_norm": True}
    model = build(name, std=0.3, **settings)
    for _ in range(3):  # running statistics that are not the start values
        model.train()(ids)
    model.eval()
    alone = torch.cat([model(row.unsqueeze(0)) for row in ids[:8]])
    torch.testing.assert_close(alone, model(ids)[:8], rtol=1e-5, atol=1e-5)


def test_int32_and_int64_ids_are_the_same(build, name, ids):
    model = build(name, std=0.3)
    gradients = []
    for kind in (torch.int32, torch.int64):
        model.zero_grad()
        model(ids.to(kind)).square().sum().backward()
        gradients.append({key: p.grad.clone() for key, p in model.named_parameters()})
    for key in gradients[0]:
        assert torch.equal(gradients[0][key], gradients[1][key]), key


def test_the_mask_feature_has_a_row_like_any_other(build, name, ids):
    model = build(name, std=0.3).eval()
    masked = ids.clone()
    masked[:, 1] = 0
    assert not torch.allclose(model(masked), model(ids))


def test_gradient_reaches_every_parameter(build, name, ids):
    model = build(name, std=0.3)
    model(ids).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


def test_gradient_reaches_every_parameter_from_the_declared_start(build, name, ids):
    model = build(name)
    binary_cross_entropy_with_logits(model(ids), (ids[:, 0] % 2).float()).backward()
    silent = {key for key, p in model.named_parameters() if not p.grad.abs().max() > 0}
    assert not silent


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
    torch.manual_seed(1)
    first, second = build(name), build(name)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_dcnv2_mix_has_the_released_size():
    """347,112 = cross 140,800 + deep 205,928 + output weights 384; the output bias and the tables are not counted."""
    cls = registry.get("dcnv2_mix").load()
    model = cls(10, 8, **{key: setting.value for key, setting in cls.settings.items()})
    tables = sum(p.numel() for p in model.embedding_tables())
    assert sum(p.numel() for p in model.parameters()) - tables - model.head.bias.numel() == 347_112
    assert model.representation_dim == 384


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("deepfm", 129),
        ("pnn", 128),
        ("wide_deep", 128),
        ("afn", 128),
        ("afm", 32),
        ("autoint", 384),
        ("dcnv2", 384),
        ("dcn", 384),
        ("xdeepfm", 384),
    ],
)
def test_representation_size_at_eight_fields(name, size):
    cls = registry.get(name).load()
    model = cls(10, 8, **{key: setting.value for key, setting in cls.settings.items()})
    assert model.representation_dim == size


def test_settings_that_do_not_fit_each_other_are_named(build):
    with pytest.raises(UserError, match=r"heads: 3 does not divide embedding_dim 32; nearest: 2$"):
        build("autoint", heads=3, embedding_dim=32)
    with pytest.raises(UserError, match=r"cin: 7 cannot be split in half \(split_half is on\); nearest: 8$"):
        build("xdeepfm", cin=[7, 4])
    assert build("xdeepfm", cin=[7, 4], split_half=False).representation_dim == 7 + 4 + 6


@pytest.mark.parametrize("bad", [[], [0], [300, -1], [True], [1.5]])
def test_layer_widths_are_whole_numbers_above_zero(bad):
    with pytest.raises(UserError, match="whole numbers above 0"):
        check_value("suite.yaml: hidden", "hidden", bad, [300])
