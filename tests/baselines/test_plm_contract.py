"""What every method with a PLM owes, whatever its model: run as a suite runs it, on a table of two thousand rows."""

import ast
import inspect
from dataclasses import replace

import numpy as np
import pytest
from tiny_clicks import Lab, make_table, relabelled

from flipbench.plan import registry
from flipbench.run.stages import run_stage
from flipbench.train.checkpoint import Checkpoint

METHODS = ("ctr_bert", "ptab", "ctrl", "alt", "p5", "clickprompt", "clickprompt_id")
BAYES, LEARNT, NOISE = 0.86, 0.78, 0.12
"""The best AUC there is, what each method must reach, and how far chance goes: 3 standard errors of 200 test rows."""

LONGER = {"p5": {"max_epochs": 4}}
"""A T5 from a random start needs more than two epochs to answer at all."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("clicks"))


@pytest.fixture
def lab(tmp_path, table, monkeypatch):
    return Lab(tmp_path, table, monkeypatch)


@pytest.mark.parametrize("method", METHODS)
def test_it_learns_and_learns_nothing_from_shuffled_labels(lab, table, method):
    found = lab.run(method, **LONGER.get(method, {}))
    assert LEARNT < found["evaluate"]["auc"] < BAYES + 0.06
    lab.table = relabelled(table)
    assert abs(lab.run(method, max_epochs=1)["evaluate"]["auc"] - 0.5) < NOISE
    assert ("pretrain" in found) == bool(registry.get(method).pretraining)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_the_score_depends_on_the_test_rows(lab, table, method):
    """Neither a pretraining nor a selection sees them; a pretraining sees no label at all."""
    short = {"max_epochs": 1, "batch_size": 256, "pretrain.batch_size": 512}
    lab.table = replace(table, ids=table.ids[:400], labels=table.labels[:400])
    first = lab.run(method, **short)
    ids, labels = lab.table.ids.copy(), lab.table.labels.copy()
    ids[360:], labels[360:] = ids[360:][::-1], 1 - labels[360:][::-1]
    lab.table = replace(lab.table, ids=ids, labels=labels, fingerprint="e" * 64)
    again = lab.run(method, **short)
    for role in {"pretrain", "select", "refit"} & first.keys():
        assert first[role] == again[role], role
    assert first["evaluate"]["auc"] == pytest.approx(1 - again["evaluate"]["auc"])
    if "pretrain" in first:
        lab.table = replace(lab.table, labels=1 - labels, fingerprint="f" * 64)
        pretrain = lab.chain(method, **short)[0]
        assert run_stage(pretrain, lab.store, "cpu", 1) == first["pretrain"]
    assert lab.run(method, seed=1, **short)["refit"]["initial_weights"] != first["refit"]["initial_weights"]


@pytest.mark.parametrize("method", METHODS)
def test_killed_at_any_step_it_ends_with_the_same_bits(lab, table, tmp_path, monkeypatch, method):
    short = {"max_epochs": 2, "batch_size": 64, "pretrain.batch_size": 64}
    lab.table = replace(table, ids=table.ids[:200], labels=table.labels[:200])
    calm = lab.run(method, **short)
    stormy = Lab(tmp_path / "stormy", lab.table, monkeypatch)
    saved = Checkpoint.save
    lives = iter([2, 1, 3, 10**6])
    left = next(lives)

    def save(self, state):
        nonlocal left
        saved(self, state)
        left -= 1
        if left == 0:
            left = next(lives)
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    monkeypatch.setattr(Checkpoint, "save", save)
    found = {}
    for stage in stormy.chain(method, **short):
        while stage.role not in found:
            try:
                found[stage.role] = run_stage(stage, stormy.store, "cpu", 1)
            except KeyboardInterrupt:
                continue
    assert left > 10**5, "all lives were lost"
    assert found == calm
    np.testing.assert_equal(*(_predictions(each, method, short) for each in (lab, stormy)))


def _predictions(lab, method, short):
    return (lab.store.folder(lab.chain(method, **short)[-1]) / "predictions.parquet").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_its_settings_have_their_sources_and_reach_the_model(method):
    declared = registry.get(method)
    assert declared.grid.keys() <= declared.settings.keys()
    assert all(s.where for s in declared.settings.values())
    assert declared.summary.endswith(").")
    assert any(str(year) in declared.summary or "arXiv" in declared.summary for year in range(2019, 2026))
    if (module := inspect.getmodule(declared.load())) and method in (
        "ctr_bert",
        "ptab",
        "p5",
        "clickprompt",
        "clickprompt_id",
    ):
        assert registry._from_source(declared.target) == registry._from_class(declared.target)
        assert ast.get_docstring(ast.parse(inspect.getsource(module)))
