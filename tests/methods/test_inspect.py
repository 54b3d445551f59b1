"""What is measured of a pretraining, against tables and models whose answer is known."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_flip import build, plan, planted, planted_rows, tokens

from flipbench.data import split
from flipbench.data.store import fingerprint
from flipbench.errors import UserError
from flipbench.methods.flip.alignment import similarities, top1
from flipbench.methods.flip.geometry import geometry
from flipbench.methods.flip.masking import mask_table, mask_values
from flipbench.plan.code import Code, code_of
from flipbench.run import stages
from flipbench.run.stages import run_stage
from flipbench.store.code import RunCode
from flipbench.store.manifest import DRAWN
from flipbench.store.runs import Store
from flipbench.train.weights import saved_weights

BARE = "{method: flip, pretrain: {mlm: false, mtm: false, icl: false}}"
TINY = "{plm: small, pretrain: {epochs: 1, batch_size: 512}}"


values = st.floats(-4, 4, width=32).filter(lambda x: abs(x) > 1e-3)
tables = st.tuples(st.integers(2, 12), st.integers(2, 6)).flatmap(lambda s: arrays(np.float32, s, elements=values))


@settings(max_examples=50, deadline=None)
@given(tables)
def test_geometry_known_values(table):
    measured = geometry(table)
    rows = table.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(len(rows)) for j in range(len(rows)) if i != j]
    assert measured.mean_cosine == pytest.approx(np.mean(pairs), abs=1e-9)
    values = np.linalg.svd(rows, compute_uv=False)
    assert measured.singular_shares == pytest.approx(values / values.sum(), abs=1e-9)
    assert 1 - 1e-9 <= measured.effective_rank <= min(table.shape) + 1e-9
    projected = rows @ measured.axes
    assert np.linalg.norm(projected, axis=0) == pytest.approx(values[:2], abs=1e-6), "U2 S2"
    assert (projected.mean(axis=0) >= -1e-9).all(), "turned one way, whatever the library's signs"


def test_a_cone_and_an_even_table_are_different():
    generator = np.random.default_rng(0)
    even = generator.normal(size=(2000, 16)).astype(np.float32)
    cone = even * np.float32(0.1) + np.float32(1)
    assert geometry(even).mean_cosine == pytest.approx(0, abs=0.01)
    assert geometry(even).effective_rank == pytest.approx(16, rel=0.01)
    assert geometry(cone).mean_cosine == pytest.approx(1 / 1.01, abs=0.005), "centring would have hidden it"
    assert geometry(cone).singular_shares[0] > 0.65
    line = np.outer(np.arange(1, 9), np.ones(4)).astype(np.float32)
    assert geometry(line).effective_rank == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.array([[1.0, 0], [0, 0]]), np.array([[1.0, 0], [np.nan, 1]])])
def test_a_table_without_directions_is_refused(rows):
    with pytest.raises(ValueError, match="two rows or more, finite and not zero"):
        geometry(rows.astype(np.float32))


def test_top1_counts_strict_winners_in_rows_and_columns():
    one = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.3, 0.3, 0.3]])
    by_text, by_table = top1(torch.stack([one, torch.eye(3)]))
    assert by_text.tolist() == [1.0, 0.5, 0.5], "text 1 is nearer to table 0, text 2 ties"
    assert by_table.tolist() == [1.0, 1.0, 1.0]
    assert [t.tolist() for t in top1(torch.ones(4, 3, 3))] == [[0.0] * 3] * 2, "all alike finds nothing"


def test_similarities_are_those_of_one_row_and_field_at_a_time():
    model = build(dropout=0.5)
    ids = torch.from_numpy(planted_rows()[1].ids[:70])  # more than one batch
    measured = similarities(model, ids, tokens(), "cpu")
    assert measured.shape == (70, 8, 8)
    assert not model.training
    for row, f, g in ((0, 0, 0), (3, 2, 5), (69, 7, 1)):
        one = ids[row : row + 1]
        text = tokens().batch(one)
        hidden = mask_values(text, torch.tensor([[f]]), tokens().mask_id).tokens
        with torch.no_grad():
            z_text = model.icl.project_text(model.encoder(hidden, text.attention_mask)[:, 0])
            v = model.id_model.represent(mask_table(one.long(), torch.tensor([[g]])).ids)
            expected = torch.cosine_similarity(z_text, model.icl.project_table(v)).item()
        assert measured[row, f, g].item() == pytest.approx(expected, abs=1e-5)


def test_without_icl_there_is_nothing_to_compare():
    with pytest.raises(ValueError, match="no ICL projections"):
        similarities(build(icl=False), torch.from_numpy(planted_rows()[1].ids[:2]), tokens(), "cpu")


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    """A pretraining and its two inspections, run as a suite does: (plan, store)."""
    folder = tmp_path_factory.mktemp("inspected")
    path = folder / "mini.yaml"
    path.write_text(
        f"suite: mini\ntitle: t\ndata: [{{name: planted-tiny, users: 0.1}}]\nsettings: {TINY}\n"
        "inspect: [embeddings, alignment]\nmethods: [flip]\n"
    )
    whole, store = plan(path, fingerprint=fingerprint("planted-tiny")), Store(folder / "results")
    store.prepare()
    for stage in whole.stages():
        run_stage(stage, store, "cpu", 1)
    return whole, store


def test_inspecting_suite_scores_nothing(inspected):
    whole, store = inspected
    pretraining, *measuring = whole.stages()
    assert [pretraining.role, *(s.role for s in measuring)] == ["pretrain", "embeddings", "alignment"]
    assert whole.needed(store) == []
    (cell,) = whole.cells
    assert cell.evaluations == ()
    assert cell.inspections == (*measuring,)
    assert {*store.env(pretraining)["code"]} == {"pretraining", "dcnv2"}
    for stage in measuring:
        assert {*store.env(stage)["code"]} == {stage.role, "pretraining", "dcnv2"}, "whatever code made the figures"
        assert stage.parents == {"pretrain": pretraining}
        files = {p.name: p.stat().st_size for p in store.folder(stage).iterdir()}
        assert {*files} == {"DONE", DRAWN, "env.json", "events.jsonl", "metrics.json", "spec.json"}
        assert sum(files.values()) < 300_000
        store.check(stage)


def test_a_changed_model_in_a_pretraining_is_changed_code_of_its_inspections(inspected, monkeypatch):
    whole, store = inspected
    assert RunCode(store).changed(whole.stages()) == []
    of_today = Code(Path("dcnv2.py"), 0, "f" * 64)
    monkeypatch.setattr("flipbench.store.code.code_of", lambda t: of_today if "dcnv2" in t else code_of(t))
    (changed,) = RunCode(store).changed(whole.stages())
    assert (changed.method, changed.runs) == ("dcnv2", 2), "the pretraining that both were made from counts with them"


def test_the_stored_embeddings_are_the_pretrained_ones(inspected):
    whole, store = inspected
    pretraining, stage, _ = whole.stages()
    weights = saved_weights(store, pretraining)["id_model.embed.weight"].numpy()
    seen = np.unique(split.training_rows(split.of_users(planted(), 0.1), "chronological").ids)
    metrics, drawn = store.metrics(stage), pq.read_table(store.folder(stage) / DRAWN)
    assert (metrics["features"], metrics["unseen"]) == (len(seen), planted().num_features - 1 - len(seen))
    expected = geometry(weights[seen])
    assert metrics["mean_cosine"] == expected.mean_cosine
    assert len(drawn) == min(2000, len(seen))
    norms = np.sort(np.hypot(drawn["x"], drawn["y"]))
    assert norms == pytest.approx(np.sort(np.linalg.norm(weights[seen] @ expected.axes, axis=1)), rel=1e-4)
    assert set(drawn["field"].to_pylist()) == {f.name for f in planted().fields}


def test_an_inspection_repeats_bit_for_bit_and_reads_no_label(inspected, monkeypatch, tmp_path):
    whole, store = inspected
    pretraining, *measuring = whole.stages()
    again = Store(tmp_path / "again")
    again.prepare()
    shutil.copytree(store.folder(pretraining), again.folder(pretraining))
    blind = replace(planted(), labels=np.full(len(planted()), 7, np.uint8))
    monkeypatch.setattr(stages, "_tables", {"planted-tiny": blind})
    for stage in measuring:
        run_stage(stage, again, "cpu", 1)
        assert (again.folder(stage) / DRAWN).read_bytes() == (store.folder(stage) / DRAWN).read_bytes()
        assert again.metrics(stage) == store.metrics(stage)


def test_inspections_share_their_pretraining_with_finetunings(suite_file):
    given = {"settings": TINY, "methods": "[flip, without_mlm: {method: flip, pretrain: {mlm: false}}]", "seeds": "2"}
    inspected = {s.key: s.role for s in plan(suite_file(inspect="[embeddings]", **given)).stages()}
    scored = {s.key: s.role for s in plan(suite_file(**given)).stages()}
    assert sorted(inspected.values()) == ["embeddings"] * 4 + ["pretrain"] * 4
    shared = inspected.keys() & scored.keys()
    assert [inspected[key] for key in shared] == ["pretrain"] * 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": "[dcnv2]", "settings": ""}, "dcnv2: inspect: embeddings: nothing is pretrained"),
        ({"methods": f"[bare: {BARE}]"}, "bare: inspect: embeddings: nothing is pretrained"),
        (
            {"methods": "[blind: {method: flip, pretrain: {icl: false}}]", "inspect": "[alignment]"},
            "blind: inspect: alignment: measures what pretrain.icl learns, which is off",
        ),
        ({"inspect": "[embedings]"}, "unknown inspection 'embedings'; did you mean 'embeddings'"),
        ({"inspect": "[embeddings, embeddings]"}, "inspect: 'embeddings' is listed twice"),
        ({"tune": "{budget: 3}"}, "tune: nothing is finetuned where 'inspect' is given"),
    ],
)
def test_what_cannot_be_inspected_is_refused_when_planned(suite_file, changes, words):
    given = {"settings": TINY, "methods": "[flip]", "inspect": "[embeddings]", **changes}
    with pytest.raises(UserError, match=words):
        plan(suite_file(**given))
