"""Every logit again, row by row from the paper's equation, in NumPy and float64."""

import itertools

import numpy as np
import pytest
import torch

FEATURES = 30


def array(tensor):
    return tensor.detach().numpy()


def affine(layer, x):
    """Linear layer on one vector."""
    return array(layer.weight) @ x + (0.0 if layer.bias is None else array(layer.bias))


def relu(x):
    return np.maximum(x, 0.0)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def mlp(model, e):
    x = np.concatenate(e)
    for layer in model.mlp:
        x = affine(layer, x) if isinstance(layer, torch.nn.Linear) else relu(x)
    return x


def head(model, *v):
    return affine(model.head, np.concatenate(v))[0]


def pairs(e):
    return list(itertools.combinations(e, 2))


def wide_deep(model, e):
    return head(model, mlp(model, e))


def deepfm(model, e):
    return sum(a @ b for a, b in pairs(e)) + head(model, mlp(model, e))


def pnn(model, e):
    return head(model, mlp(model, [*e, [a @ b for a, b in pairs(e)]]))


def afm(model, e):
    products = [a * b for a, b in pairs(e)]
    weight = softmax([affine(model.query, relu(affine(model.attention, p)))[0] for p in products])
    return head(model, sum(a * p for a, p in zip(weight, products, strict=True)))


def dcn(model, e):
    x0 = x = np.concatenate(e)
    for kernel, bias in zip(array(model.kernel), array(model.bias), strict=True):
        x = x0 * (x @ kernel[:, 0]) + bias + x
    return head(model, x, mlp(model, e))


def dcnv2(model, e):
    x0 = x = np.concatenate(e)
    for layer in model.cross:
        x = x0 * affine(layer, x) + x
    return head(model, x, mlp(model, e))


def dcnv2_mix(model, e):
    x0 = x = np.concatenate(e)
    down, core, up, bias = (array(p) for p in (model.down, model.core, model.up, model.bias))
    for layer in range(len(bias)):
        gate = softmax(affine(model.gate, x))
        mixed = np.zeros_like(x)
        for expert in range(len(gate)):
            low = np.tanh(core[layer, expert] @ np.tanh(down[layer, expert] @ x))
            mixed += gate[expert] * (x0 * (low @ up[layer, expert] + bias[layer]))
        x = mixed + x
    return head(model, x, mlp(model, e))


def xdeepfm(model, e):
    x, pooled = e, []
    for number, layer in enumerate(model.cin.layers):
        products = np.array([x_i * e_j for e_j in e for x_i in x])  # [fields * maps, D]
        maps = array(layer.weight) @ products + array(layer.bias)[:, None]
        maps = relu(maps) if model.cin.with_relu else maps
        last = number == len(model.cin.layers) - 1
        half = len(maps) // 2 if model.cin.split_half and not last else 0
        pooled += [line.sum() for line in maps[half:]]
        x = maps[:half] if half else maps
    return head(model, pooled, mlp(model, e))


def autoint(model, e):
    x = e
    for layer in model.attention:
        blocks = array(layer.project.weight).reshape(4, -1, x.shape[1])
        size = blocks.shape[1] // layer.heads
        query, key, value, residual = (x @ block.T for block in blocks)
        out = np.zeros_like(value)
        for number, f in itertools.product(range(layer.heads), range(len(x))):
            part = slice(number * size, (number + 1) * size)
            weight = softmax([query[f, part] @ key[g, part] * layer.factor for g in range(len(x))])
            out[f, part] = sum(a * value[g, part] for g, a in enumerate(weight))
        x = out + residual
        if isinstance(layer.norm, torch.nn.LayerNorm):
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + layer.norm.eps)
            x = x * array(layer.norm.weight) + array(layer.norm.bias)
        x = relu(x)
    return head(model, *x, mlp(model, e))


REFERENCES = {f.__name__: f for f in (wide_deep, deepfm, pnn, afm, dcn, dcnv2, dcnv2_mix, xdeepfm, autoint)}
CASES = [
    *((name, {}) for name in REFERENCES),
    ("autoint", {"scale": True, "heads": 4}),
    ("autoint", {"layer_norm": True}),
    ("autoint", {"attention_dim": 6, "scale": True, "layer_norm": True}),
    ("xdeepfm", {"cin_relu": False}),
    ("xdeepfm", {"split_half": False, "cin": [3, 4, 2]}),
    ("xdeepfm", {"cin": [4, 6, 3]}),
]


def first_order(model, rows):
    return np.zeros(len(rows)) if model.linear is None else array(model.linear.weight)[rows, 0].sum(1)


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("fields", [2, 3])
def test_logits_follow_the_equation(build, name, settings, fields):
    model = build(name, std=0.5, fields=fields, **{"embedding_dim": 4, **settings}).double()
    rows = torch.randint(0, FEATURES, (3, fields), generator=torch.Generator().manual_seed(5))
    expected = [REFERENCES[name](model, array(model.embed.weight)[row]) for row in rows]
    np.testing.assert_allclose(array(model(rows)), first_order(model, rows) + expected, rtol=1e-10, atol=1e-10)


def test_afm_drops_pairs(build):
    """Half of the attention's weights on average, the others doubled; what is left weighs the pairs."""
    model = build("afm", std=0.5, embedding_dim=4, attention_dropout=0.5).double().train()
    row = torch.tensor([[3, 8, 14, 22]]).expand(200, -1)
    kept = []
    model.attention_dropout.register_forward_hook(lambda _, given, out: kept.append((*given, out)))
    with torch.no_grad():
        logits = model(row)
    (before, after) = (array(weight)[:, 0] for weight in kept[0])  # [200, P]
    assert 0.4 < (after == 0).mean() < 0.6
    np.testing.assert_allclose(after[after > 0], 2 * before[after > 0])
    products = np.array([a * b for a, b in pairs(array(model.embed.weight)[row[0]])])
    expected = first_order(model, row) + [head(model, weight @ products) for weight in after]
    np.testing.assert_allclose(array(logits), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "settings", [{}, {"norm_over": "fields"}, {"ensemble": True}, {"norm_over": "fields", "ensemble": True}]
)
def test_afn_follows_the_equation(build, settings, training):
    """Its batch norms tie the rows together, so the reference runs over the whole batch."""
    model = build("afn", std=0.5, embedding_dim=3, log_neurons=5, **settings).double()
    rows = torch.randint(0, FEATURES, (5, 4), generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        model.embed.weight[rows[0, 0]] = 0.0  # the floor under the logarithm
    if not training:
        model.train()(rows)
        model.eval()

    over_fields = settings.get("norm_over") == "fields"

    def normalised(norm, x, channels=-1):
        """Batch norm of x over all but its channels; running statistics in evaluation."""
        if channels != -1:
            return normalised(norm, x.swapaxes(channels, -1)).swapaxes(channels, -1)
        each = tuple(range(x.ndim - 1))
        mean, var = (x.mean(each), x.var(each)) if training else (array(norm.running_mean), array(norm.running_var))
        return (x - mean) / np.sqrt(var + norm.eps) * array(norm.weight) + array(norm.bias)

    e = array(model.embed.weight)[rows]  # [B, F, D]
    floor = 1e-5 if over_fields else 1e-7
    logs = normalised(model.log_norm, np.log(np.maximum(np.abs(e), floor)), channels=1 if over_fields else 2)
    neurons = np.exp(np.array([[affine(model.neurons, row[:, d]) for d in range(3)] for row in logs]))  # [B, D, N]
    x = normalised(model.exp_norm, neurons, channels=2 if over_fields else 1).reshape(len(rows), -1)

    def tower(layers, x):
        for layer in layers:
            if isinstance(layer, torch.nn.Linear):
                x = np.array([affine(layer, row) for row in x])
            else:
                x = normalised(layer, x) if isinstance(layer, torch.nn.BatchNorm1d) else relu(x)
        return x

    x = tower(model.mlp, x)
    if settings.get("ensemble"):
        x = np.concatenate([x, tower(model.deep, array(model.deep_embed.weight)[rows].reshape(len(rows), -1))], axis=1)
    expected = first_order(model, rows) + [head(model, row) for row in x]
    np.testing.assert_allclose(array(model(rows)), expected, rtol=1e-9, atol=1e-9)
