"""Floors: known values, the optimum of their regressions, what was never seen, and their way to a report."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from flipbench import metrics
from flipbench.data import split
from flipbench.data.fetch import import_from
from flipbench.data.split import Rows
from flipbench.data.store import open_table
from flipbench.errors import UserError
from flipbench.plan import registry

ROWS = 600


def rows_of(table, chosen):
    ids = table.ids[chosen]
    return Rows(ids, table.labels[chosen], ids[:, table.user_column])


def fitted(name, table, rows, **settings):
    model = registry.get(name).load()(table, **settings)
    model.fit(rows)
    return model


def scores(model, ids):
    return model(torch.from_numpy(np.array(ids, np.int32))).numpy()


def test_by_hand(table):
    user, first = table.offsets[table.user_column], table.offsets[table.item_column]
    ids = np.tile(table.ids[:1], (5, 1))
    ids[:, table.item_column] = first + np.array([0, 0, 0, 1, 1])
    rows = Rows(ids, np.array([1, 1, 0, 0, 0], np.uint8), ids[:, table.user_column])
    items = np.tile(ids[:1], (3, 1))
    items[:, table.item_column] = first + np.array([0, 1, 2])  # the last was never seen
    items[:, table.user_column] = user
    assert scores(fitted("constant", table, rows), items) == pytest.approx(logit([0.4] * 3), abs=1e-15)
    means = [(2 + 3 * 0.4) / (3 + 3), 3 * 0.4 / (2 + 3), 0.4]
    assert scores(fitted("item_mean", table, rows, pseudo_counts=3.0), items) == pytest.approx(logit(means), abs=1e-15)


@pytest.mark.parametrize(("name", "fields"), [("bias", [0, 2]), ("linear", [0, 1, 2, 3])])
@pytest.mark.parametrize("l2", [1e-6, 1e-2])
def test_regressions_are_at_their_optimum(table, name, fields, l2):
    """The gradient of mean logloss + l2/2 |w|^2, summed densely, is zero; the bias has no penalty."""
    user = table.ids[:, table.user_column]
    rows = rows_of(table, user != user.max())
    model = fitted(name, table, rows, l2=l2)
    weight, bias = model.weight.numpy(), float(model.bias)
    design = np.zeros((len(rows), table.num_features))
    for field in fields:
        design[np.arange(len(rows)), rows.ids[:, field]] += 1
    error = expit(design @ weight + bias) - rows.labels
    assert np.abs(design.T @ error / len(rows) + l2 * weight).max() < 1e-5
    assert abs(error.mean()) < 1e-5
    assert np.abs(weight).max() > 0.05, "it has learned something"
    assert not weight[design.sum(0) == 0].any(), "never seen"
    unseen = table.ids[user == user.max()]
    seen = [field for field in fields if field != table.user_column]
    assert scores(model, unseen) == pytest.approx(bias + weight[unseen[:, seen]].sum(1))


def test_rows_of_one_class_are_refused(table):
    with pytest.raises(UserError, match="nothing to tell apart"):
        fitted("bias", table, rows_of(table, table.labels == 1), l2=1e-3)


def test_through_every_stage_to_the_report(cli, suite_file):
    path = suite_file(methods="[dcnv2, constant, item_mean, bias, linear]", tune="{budget: 4}", seeds="2")
    only = ("--only", "kind=floor")
    assert cli("run", path, *only)[0] == 0
    assert cli("run", path, *only, "--protocol", "as-released", "--seeds", "1")[0] == 0
    assert cli("report", path, *only)[0] == 0
    assert cli("verify", path, *only)[0] == 0
    written = json.loads((path.parent / "reports" / "mini.json").read_text())
    table = {c["method"]: c for c in written["cells"] if c["metric"] == "logloss"}
    assert {c["family"] for name, c in table.items() if name != "dcnv2"} == {"Floors"}
    data = open_table("planted-tiny")
    train, test = split.training_rows(data, "chronological"), split.test_rows(data, "chronological")
    constant = metrics.logloss(test.labels, np.full(len(test), logit(train.labels.mean())))
    assert table["constant"]["value"] == pytest.approx(constant, abs=1e-6)
    assert "Worse than a constant" not in written["caption"]
    assert max(table["bias"]["value"], table["linear"]["value"]) < table["item_mean"]["value"] < constant


DATA = os.environ.get("FLIPBENCH_DATA", "")


@pytest.mark.skipif(not (Path(DATA) / "ml-1m").is_dir(), reason="FLIPBENCH_DATA names no folder that holds ml-1m")
def test_user_and_item_bias_on_movielens(own_home):
    table = import_from("movielens-1m", DATA)
    declared = {name: setting.value for name, setting in registry.get("bias").settings.items()}
    model = fitted("bias", table, split.training_rows(table, "chronological"), **declared)
    test = split.test_rows(table, "chronological")
    logits = scores(model, test.ids)
    assert 0.840 < metrics.auc(test.labels, logits) < 0.843
    assert 0.396 < metrics.logloss(test.labels, logits) < 0.399
