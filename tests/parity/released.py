"""The authors' step in numpy, float64, from their equations alone (justarter/FLIP @8c5c17f); nothing of torch.

Weights come by the names that they have in this code. Shapes: B rows, F fields, L tokens, n = F·D.
"""

import numpy as np
from scipy.special import erf

TEMPERATURE, ICL_WEIGHT, BACKOFF = 0.7, 1 / 8, 1e-10


def linear(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def norm(p, name, x):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    return x * p[f"{name}.weight"] + p[f"{name}.bias"]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def cross_entropy(logits, targets):
    return -np.log(softmax(logits)[np.arange(len(targets)), targets]).mean()


def bce(logit, label):
    """Binary cross-entropy, summed over nothing."""
    return np.logaddexp(0, logit) - label * logit


def represent(p, ids):
    """v [B, n + deep] of DCN-Mix: expert by expert, V, C and U one product each (CrossNetMix)."""
    x0 = p["id_model.embed.weight"][ids].reshape(len(ids), -1)
    x = x0
    layers = zip(*(p[f"id_model.{name}"] for name in ("down", "core", "up", "bias")), strict=True)
    for down, core, up, bias in layers:
        gates, moved = softmax(x @ p["id_model.gate.weight"].T), np.zeros_like(x)
        for e in range(len(core)):
            inner = np.tanh(core[e] @ np.tanh(down[e] @ x.T))
            moved += gates[:, [e]] * x0 * ((up[e].T @ inner).T + bias)
        x = x + moved
    deep = x0
    for name in sorted({key.split(".")[2] for key in p if key.startswith("id_model.mlp.")}, key=int):
        deep = np.maximum(linear(p, f"id_model.mlp.{name}", deep), 0)
    return np.concatenate([x, deep], axis=1)


def states(p, tokens):
    """[B, L, D_text] of the language model that the test stands in for the real one."""
    return np.tanh(p["encoder.words"][tokens] + p["encoder.places"][: tokens.shape[1]])


def project(p, name, x):
    """ProjectionHead, dropout aside."""
    a = linear(p, f"{name}.first", x)
    gelu = a * (1 + erf(a / np.sqrt(2))) / 2
    return norm(p, f"{name}.norm", a + linear(p, f"{name}.second", gelu))


def instance_contrast(p, batch):
    s = project(p, "icl.table", represent(p, batch["ids"])) @ project(p, "icl.text", clean_states(p, batch)[:, 0]).T
    matched = np.arange(len(s))
    return (cross_entropy(s / TEMPERATURE, matched) + cross_entropy(s.T / TEMPERATURE, matched)) / 2


def clean_states(p, batch):
    """Of every token, padding to the full length included."""
    return states(p, batch["tokens"])


def masked_table(p, batch):
    """Simple_Attention, then IndexLinear's noise contrast."""
    v, w = represent(p, batch["masked_ids"]), clean_states(p, batch)
    query = norm(p, "mtm.attention.query.1", linear(p, "mtm.attention.query.0", v))
    u = np.einsum("bl,bld->bd", softmax(np.einsum("bd,bld->bl", query, w)), w)
    rows, fields = np.arange(len(v))[:, None], batch["fields"]
    h = linear(p, "mtm.predictor", np.concatenate([v, u], axis=1)).reshape(len(v), batch["ids"].shape[1], -1)
    chosen = batch["candidates"]
    features, noise = len(batch["counts"]), chosen.shape[2] - 1
    q = np.maximum(batch["counts"] / batch["counts"].sum(), BACKOFF)
    q = q / q.sum()
    score = np.einsum("bnd,bncd->bnc", h[rows, fields], p["mtm.output.table.weight"][chosen])
    score = score + p["mtm.output.bias.weight"][chosen, 0] - np.log(features)
    logit = score - np.log(q)[chosen] - np.log(noise)
    return bce(logit, np.eye(noise + 1)[0]).sum(2).mean()


def masked_language(p, batch):
    """mlm_Prediction_Layer at the hidden positions; all others carry the label that is ignored."""
    hidden = batch["masked_tokens"] != batch["tokens"]
    w, v = states(p, batch["masked_tokens"]), represent(p, batch["ids"])
    x = np.concatenate([w, np.repeat(v[:, None], w.shape[1], axis=1)], axis=2)[hidden]
    logits = linear(p, "mlm.output.3", np.tanh(linear(p, "mlm.output.0", x)))
    return cross_entropy(logits, batch["tokens"][hidden])


PRETRAINING = {"icl": instance_contrast, "mtm": masked_table, "mlm": masked_language}


def id_logit(p, ids):
    first_order = p["id_model.linear.weight"][ids, 0].sum(1)
    return first_order + (represent(p, ids) @ p["id_model.head.weight"].T + p["id_model.head.bias"])[:, 0]


def tables(p):
    """|E|² + |w1|²."""
    return (p["id_model.embed.weight"] ** 2).sum() + (p["id_model.linear.weight"] ** 2).sum()


def finetune_all(p, batch):
    """finetune_all.py. PredictionLayer adds its bias in place: the parts' biases are in the mixed logit too."""
    s_id = id_logit(p, batch["ids"])
    s_plm = linear(p, "head", clean_states(p, batch)[:, 0])[:, 0] + p["biases"][0]
    mixed = p["alpha"] * s_id + (1 - p["alpha"]) * s_plm + p["biases"][1]
    return sum(bce(s, batch["labels"]).mean() for s in (mixed, s_id, s_plm)) + 1e-4 * tables(p)


def finetune_ctr(p, batch):
    """finetune_ctr.py: summed over the batch."""
    return bce(id_logit(p, batch["ids"]), batch["labels"]).sum() + 1e-3 * tables(p)


def adam_step(weight, gradient, rate, decay=0.0, eps=1e-8):
    """The first step of AdamW, of Adam without decay: both moments are corrected to the gradient and its square."""
    return weight * (1 - rate * decay) - rate * gradient / (np.abs(gradient) + eps)
