"""With copied weights, the logits are DeepCTR-Torch's. docs/decisions.md lists where the forms differ."""

from unittest import mock

import numpy as np
import pytest
import torch
from one_thread import one_thread  # noqa: F401 - fixture

from flipbench.plan import registry

with mock.patch("threading.Thread.start"):  # its import looks for a newer release on the network
    from deepctr_torch import models as deepctr
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models.dcnmix import DCNMix

SIZES = [11, 2, 7, 5]
OFFSETS = np.concatenate([[1], 1 + np.cumsum(SIZES)])
HIDDEN = [12, 6]
DIM = 8


def columns():
    return [SparseFeat(f"f{i}", size, embedding_dim=DIM) for i, size in enumerate(SIZES)]


def with_linear(cls, **arguments):
    return lambda: cls(columns(), columns(), **arguments)


THEIRS = {
    "afm": with_linear(deepctr.AFM, attention_factor=5),
    "pnn": lambda: deepctr.PNN(columns(), HIDDEN),
    "wide_deep": with_linear(deepctr.WDL, dnn_hidden_units=HIDDEN),
    "dcn": with_linear(deepctr.DCN, dnn_hidden_units=HIDDEN),
    "deepfm": with_linear(deepctr.DeepFM, dnn_hidden_units=HIDDEN),
    "xdeepfm": with_linear(deepctr.xDeepFM, dnn_hidden_units=HIDDEN, cin_layer_size=(6, 5)),
    "xdeepfm all maps": with_linear(
        deepctr.xDeepFM, dnn_hidden_units=HIDDEN, cin_layer_size=(6, 5), cin_split_half=False
    ),
    "autoint": with_linear(deepctr.AutoInt, dnn_hidden_units=HIDDEN),
    "autoint scaled": with_linear(deepctr.AutoInt, dnn_hidden_units=HIDDEN),
    "afn": with_linear(deepctr.AFN, ltl_hidden_size=7, afn_dnn_hidden_units=HIDDEN),
    "dcnv2": with_linear(deepctr.DCN, dnn_hidden_units=HIDDEN, cross_num=3, cross_parameterization="matrix"),
    "dcnv2_mix": with_linear(DCNMix, dnn_hidden_units=HIDDEN, low_rank=3, num_experts=4),
}
OURS = {
    "afm": {"attention_dim": 5},
    "xdeepfm": {"cin": [6, 5]},
    "xdeepfm all maps": {"cin": [6, 5], "split_half": False},
    "autoint scaled": {"scale": True},
    "afn": {"log_neurons": 7},
    "dcnv2_mix": {"rank": 3},
}


def ours(case):
    cls = registry.get(case.split()[0]).load()
    settings = {key: setting.value for key, setting in cls.settings.items()} | OURS.get(case, {})
    settings["embedding_dim"] = DIM
    if "hidden" in settings:
        settings["hidden"] = HIDDEN
    return cls(int(OFFSETS[-1]), len(SIZES), **settings)


def theirs(case, std):
    """Their model with logits instead of probabilities and weights drawn anew; ``std`` None keeps their start."""
    model = THEIRS[case]()
    model.out.task = "regression"
    if case == "autoint scaled":
        for layer in model.int_layers:
            layer.scaling = True
    if std is not None:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=std)
        for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    return model


def copy(source, target):  # noqa: C901 - one branch a model, read from top to bottom
    """Every weight of their model into ours, table by table and layer by layer."""
    values = dict(source.state_dict())
    taken = set()

    def take(key):
        taken.add(key)
        return values[key]

    for table, prefix in ((target.embed, "embedding_dict"), (target.linear, "linear_model.embedding_dict")):
        if table is not None:
            table.weight[1:] = torch.cat([take(f"{prefix}.f{i}.weight") for i in range(len(SIZES))])
    target.head.bias.copy_(take("out.bias"))

    name = type(target).__name__
    deep = "afn_dnn" if name == "AFN" else "dnn"
    if name == "AFM":
        target.attention.weight.copy_(take("fm.attention_W").t())
        target.attention.bias.copy_(take("fm.attention_b"))
        target.query.weight.copy_(take("fm.projection_h").t())
        target.head.weight.copy_(take("fm.projection_p").t())
    elif name == "XDeepFM":
        target.head.weight.copy_(torch.cat([take("cin_linear.weight"), take("dnn_linear.weight")], dim=1))
        fields = len(SIZES)
        for k, layer in enumerate(target.cin.layers):  # their inputs are ordered map first, ours field first
            weight = take(f"cin.conv1ds.{k}.weight").squeeze(2)
            layer.weight.copy_(weight.unflatten(1, (-1, fields)).transpose(1, 2).flatten(1))
            layer.bias.copy_(take(f"cin.conv1ds.{k}.bias"))
    else:
        target.head.weight.copy_(take(f"{deep}_linear.weight"))
    if name == "DCN":
        target.kernel.copy_(take("crossnet.kernels"))
        target.bias.copy_(take("crossnet.bias").squeeze(2))
    if name == "DCNv2":
        for layer, weight, bias in zip(target.cross, take("crossnet.kernels"), take("crossnet.bias"), strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias.squeeze(1))
    if name == "DCNv2Mix":
        target.down.copy_(take("crossnet.V_list").transpose(2, 3))
        target.core.copy_(take("crossnet.C_list"))
        target.up.copy_(take("crossnet.U_list").transpose(2, 3))
        target.bias.copy_(take("crossnet.bias").squeeze(2))
        target.gate.weight.copy_(torch.cat([take(f"crossnet.gating.{e}.weight") for e in range(4)]))
    if name == "AutoInt":
        for k, layer in enumerate(target.attention):
            parts = [take(f"int_layers.{k}.{part}").t() for part in ("W_Query", "W_key", "W_Value", "W_Res")]
            layer.project.weight.copy_(torch.cat(parts))
    if name == "AFN":
        target.neurons.weight.copy_(take("ltl.ltl_weights").t())
        target.neurons.bias.copy_(take("ltl.ltl_biases").flatten())
        for k, norm in enumerate((target.log_norm, target.exp_norm)):
            norm.load_state_dict({key: take(f"ltl.bn.{k}.{key}") for key in norm.state_dict()})
        target.head.bias += take("afn_dnn_linear.bias")  # their AFN has two output biases
    if hasattr(target, "mlp"):
        linears = [m for m in target.mlp if isinstance(m, torch.nn.Linear)]
        norms = [m for m in target.mlp if isinstance(m, torch.nn.BatchNorm1d)]
        for kind, layers in (("linears", linears), ("bn", norms)):
            for k, layer in enumerate(layers):
                layer.load_state_dict({key: take(f"{deep}.{kind}.{k}.{key}") for key in layer.state_dict()})
    assert taken == set(values), "a weight of theirs has no place in ours"


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("std", [None, 0.1, 0.4])
@pytest.mark.parametrize("case", THEIRS)
def test_logits_equal(case, std, training):
    source = theirs(case, std).train(training)
    target = ours(case).train(training)
    torch.manual_seed(7)
    with torch.no_grad():
        copy(source, target)
        local = torch.stack([torch.randint(0, size, (40,)) for size in SIZES], dim=1)
        expected = source(local.float()).squeeze(1)
        logits = target(local + torch.from_numpy(OFFSETS[:-1]))
    scale = max(1.0, expected.abs().max().item())
    assert (logits - expected).abs().max().item() <= 1e-5 * scale
    if std is not None:
        assert expected.std() > 1e-3, "the comparison would hold for a constant"


@pytest.mark.parametrize("case", THEIRS)
def test_gradients_equal(case):
    source, target = theirs(case, 0.3).eval(), ours(case).eval()
    with torch.no_grad():
        copy(source, target)
    local = torch.stack([torch.arange(20) % size for size in SIZES], dim=1)
    source(local.float()).square().mean().backward()
    target(local + torch.from_numpy(OFFSETS[:-1])).square().mean().backward()
    expected = torch.cat([table.weight.grad for table in source.embedding_dict.values()])
    scale = max(1.0, expected.abs().max().item())
    assert (target.embed.weight.grad[1:] - expected).abs().max().item() <= 1e-5 * scale
    assert not target.embed.weight.grad[0].any(), "the mask feature occurs in no row"
