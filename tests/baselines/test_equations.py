"""Every logit again, as slow loops over the paper's equation, in float64."""

import itertools
import math

import numpy as np
import pytest
import torch

FEATURES = 30


def array(tensor):
    return tensor.detach().numpy()


def affine(layer, x):
    """Linear layer on one vector, one product at a time."""
    out = []
    for row, weights in enumerate(array(layer.weight)):
        total = array(layer.bias)[row] if layer.bias is not None else 0.0
        for a, b in zip(weights, x, strict=True):
            total += a * b
        out.append(total)
    return np.array(out)


def relu(x):
    return np.array([max(value, 0.0) for value in x])


def softmax(x):
    total = sum(math.exp(value) for value in x)
    return np.array([math.exp(value) / total for value in x])


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def mlp(model, x):
    for layer in model.mlp:
        x = affine(layer, x) if isinstance(layer, torch.nn.Linear) else relu(x)
    return x


def first_order(model, row):
    return sum(array(model.linear.weight)[i, 0] for i in row)


def head(model, v):
    return affine(model.head, v)[0]


def inner(e):
    return [dot(e[i], e[j]) for i, j in itertools.combinations(range(len(e)), 2)]


def wide_deep(model, row, e):
    return first_order(model, row) + head(model, mlp(model, np.concatenate(e)))


def deepfm(model, row, e):
    return first_order(model, row) + sum(inner(e)) + head(model, mlp(model, np.concatenate(e)))


def pnn(model, row, e):
    return head(model, mlp(model, np.concatenate([*e, inner(e)])))


def afm(model, row, e):
    pairs = [e[i] * e[j] for i, j in itertools.combinations(range(len(e)), 2)]
    weight = softmax([affine(model.query, relu(affine(model.attention, p)))[0] for p in pairs])
    return first_order(model, row) + head(model, sum(a * p for a, p in zip(weight, pairs, strict=True)))


def dcn(model, row, e):
    x0 = x = np.concatenate(e)
    for kernel, bias in zip(array(model.kernel), array(model.bias), strict=True):
        x = x0 * dot(x, kernel[:, 0]) + bias + x
    return first_order(model, row) + head(model, np.concatenate([x, mlp(model, x0)]))


def dcnv2(model, row, e):
    x0 = x = np.concatenate(e)
    for layer in model.cross:
        x = x0 * affine(layer, x) + x
    return first_order(model, row) + head(model, np.concatenate([x, mlp(model, x0)]))


def dcnv2_mix(model, row, e):
    x0 = x = np.concatenate(e)
    down, core, up, bias = (array(p) for p in (model.down, model.core, model.up, model.bias))
    for layer in range(len(bias)):
        gate = softmax(affine(model.gate, x))
        mixed = np.zeros_like(x)
        for expert in range(len(gate)):
            low = np.tanh([dot(column, x) for column in down[layer, expert]])
            low = np.tanh([dot(line, low) for line in core[layer, expert]])
            high = np.array([dot(up[layer, expert][:, i], low) for i in range(len(x))])
            mixed += gate[expert] * (x0 * (high + bias[layer]))
        x = mixed + x
    return first_order(model, row) + head(model, np.concatenate([x, mlp(model, x0)]))


def xdeepfm(model, row, e):
    fields, dim = e.shape
    x, pooled = e, []
    for number, layer in enumerate(model.cin.layers):
        weight, bias = array(layer.weight), array(layer.bias)
        maps = np.zeros((len(weight), dim))
        for h, d in itertools.product(range(len(weight)), range(dim)):
            total = bias[h]
            for i, j in itertools.product(range(len(x)), range(fields)):
                total += weight[h, j * len(x) + i] * x[i, d] * e[j, d]
            maps[h, d] = max(total, 0.0)
        last = number == len(model.cin.layers) - 1
        half = len(maps) // 2 if model.cin.split_half and not last else 0
        pooled += [sum(line) for line in maps[half:]]
        x = maps[:half] if half else maps
    return first_order(model, row) + head(model, np.concatenate([pooled, mlp(model, np.concatenate(e))]))


def autoint(model, row, e):
    x = e
    for layer in model.attention:
        dim = x.shape[1]
        size = dim // layer.heads
        query, key, value, residual = (
            np.array([[dot(line, x_f) for line in block] for x_f in x])
            for block in array(layer.project.weight).reshape(4, dim, dim)
        )
        out = np.zeros_like(x)
        for head_, f in itertools.product(range(layer.heads), range(len(x))):
            part = slice(head_ * size, (head_ + 1) * size)
            scores = [dot(query[f, part], key[g, part]) * layer.factor for g in range(len(x))]
            out[f, part] = sum(a * value[g, part] for g, a in enumerate(softmax(scores)))
        x = np.maximum(out + residual, 0.0)
    return first_order(model, row) + head(model, np.concatenate([*x, mlp(model, np.concatenate(e))]))


REFERENCES = {f.__name__: f for f in (wide_deep, deepfm, pnn, afm, dcn, dcnv2, dcnv2_mix, xdeepfm, autoint)}
CASES = [
    *((name, {}) for name in REFERENCES),
    ("autoint", {"scale": True, "heads": 4}),
    ("xdeepfm", {"split_half": False, "cin": [3, 4, 2]}),
    ("xdeepfm", {"cin": [4, 6, 3]}),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("fields", [2, 3])
def test_logits_follow_the_equation(build, name, settings, fields):
    small = {"embedding_dim": 4, **settings}
    model = build(name, std=0.5, fields=fields, **small).double()
    rows = torch.randint(0, FEATURES, (3, fields), generator=torch.Generator().manual_seed(5))
    table = array(model.embed.weight)
    expected = [REFERENCES[name](model, row, np.stack([table[i] for i in row])) for row in rows.numpy()]
    np.testing.assert_allclose(array(model(rows)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_afn_follows_the_equation(build, training):
    """Its batch norms tie the rows together, so the reference runs over the whole batch."""
    model = build("afn", std=0.5, embedding_dim=3, log_neurons=4).double()
    rows = torch.randint(0, FEATURES, (5, 4), generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        model.embed.weight[rows[0, 0]] = 0.0  # the floor under the logarithm
    if not training:
        model.train()(rows)
        model.eval()
    expected = _afn(model, rows.numpy(), training)
    np.testing.assert_allclose(array(model(rows)), expected, rtol=1e-9, atol=1e-9)


def _normalise(norm, columns, training):
    """Batch norm of ``columns[c]``, all values of channel c; running statistics in evaluation."""
    out = []
    for c, values in enumerate(columns):
        mean = sum(values) / len(values) if training else array(norm.running_mean)[c]
        var = sum((v - mean) ** 2 for v in values) / len(values) if training else array(norm.running_var)[c]
        scale, shift = array(norm.weight)[c], array(norm.bias)[c]
        out.append([(v - mean) / math.sqrt(var + norm.eps) * scale + shift for v in values])
    return out


def _afn(model, rows, training):
    table = array(model.embed.weight)
    batch, fields = rows.shape
    dim, neurons = table.shape[1], len(array(model.neurons.weight))
    logs = [[math.log(max(abs(table[i, d]), 1e-7)) for row in rows for i in row] for d in range(dim)]
    logs = _normalise(model.log_norm, logs, training)
    y = [[] for _ in range(dim)]
    for d, b in itertools.product(range(dim), range(batch)):
        y[d] += [math.exp(value) for value in affine(model.neurons, logs[d][b * fields : (b + 1) * fields])]
    y = _normalise(model.exp_norm, y, training)
    x = [np.concatenate([y[d][b * neurons : (b + 1) * neurons] for d in range(dim)]) for b in range(batch)]
    for layer in model.mlp:
        if isinstance(layer, torch.nn.Linear):
            x = [affine(layer, v) for v in x]
        elif isinstance(layer, torch.nn.BatchNorm1d):
            x = np.array(_normalise(layer, np.array(x).T, training)).T
        else:
            x = [relu(v) for v in x]
    return [first_order(model, row) + head(model, v) for row, v in zip(rows, x, strict=True)]
