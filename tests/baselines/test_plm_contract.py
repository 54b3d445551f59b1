"""What every method with a PLM owes, whatever its model: run as a suite runs it, on a table of two thousand rows."""

from dataclasses import replace

import pytest
from tiny_clicks import Lab, relabelled

from flipbench.plan import registry
from flipbench.run.stages import run_stage
from flipbench.train.checkpoint import Checkpoint

ROWS = 2000
METHODS = ("ctr_bert", "ptab", "ctrl", "alt", "p5", "clickprompt", "clickprompt_id")
BAYES, LEARNT, NOISE = 0.86, 0.78, 0.12
"""The best AUC there is, what each method must reach, and how far chance goes: 3 standard errors of 200 test rows."""

LONGER = {"p5": {"max_epochs": 2, "learning_rate": 5e-3}}
"""A T5 from a random start needs more than the others' one epoch to answer at all."""

pytestmark = pytest.mark.parametrize("method", METHODS)


def test_it_learns_and_learns_nothing_from_shuffled_labels(lab, table, method):
    figures = lab.run(method, **LONGER.get(method, {}))
    assert LEARNT < figures["evaluate"]["auc"] < BAYES + 0.06
    assert ("pretrain" in figures) == bool(registry.get(method).pretraining)
    lab.table = relabelled(table)
    assert abs(lab.run(method)["evaluate"]["auc"] - 0.5) < NOISE


def test_nothing_but_the_score_depends_on_the_test_rows(lab, table, method):
    """Neither a pretraining nor a selection sees them; a pretraining sees no label at all."""
    short = {"batch_size": 256, "pretrain.batch_size": 512}
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
        assert lab.run(method, until="pretrain", **short) == {"pretrain": first["pretrain"]}
    other_seed = lab.run(method, seed=1, until="select", **short)
    assert other_seed["select"]["initial_weights"] != first["select"]["initial_weights"]


def test_killed_at_any_step_it_ends_with_the_same_bits(lab, table, tmp_path, monkeypatch, method):
    short = {"max_epochs": 2, "batch_size": 64, "pretrain.batch_size": 64}
    lab.table = replace(table, ids=table.ids[:200], labels=table.labels[:200])
    calm = lab.run(method, **short)
    stormy = Lab(tmp_path / "stormy", lab.table, monkeypatch)
    lives = iter([2, 1, 3])
    saves_left = next(lives)
    save = Checkpoint.save

    def save_and_die(self, state):
        nonlocal saves_left
        save(self, state)
        saves_left -= 1
        if saves_left == 0:
            saves_left = next(lives, -1)
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    monkeypatch.setattr(Checkpoint, "save", save_and_die)
    chain, figures = stormy.chain(method, **short), {}
    for stage in chain:
        while stage.role not in figures:
            try:
                figures[stage.role] = run_stage(stage, stormy.store, "cpu", 1)
            except KeyboardInterrupt:
                continue
    assert saves_left < 0, "a life was left"
    assert figures == calm
    one, two = (each.store.folder(chain[-1]) / "predictions.parquet" for each in (lab, stormy))
    assert one.read_bytes() == two.read_bytes()


def test_it_names_its_source(method):
    declared = registry.get(method)
    assert declared.summary.endswith(").")
    assert any(str(year) in declared.summary or "arXiv" in declared.summary for year in range(2019, 2026))
