"""What is measured of a pretraining, against tables and models whose answer is known."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from flipbench.data import split
from flipbench.data import store as data_store
from flipbench.errors import UserError
from flipbench.methods.flip.alignment import similarities, top1
from flipbench.methods.flip.geometry import geometry
from flipbench.methods.flip.masking import mask_table, mask_values
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.run.stages import run_stage
from flipbench.store.runs import DRAWN, Store

TINY = "{plm: small, pretrain: {epochs: 1, batch_size: 512}}"


def tables():
    shape = st.tuples(st.integers(2, 12), st.integers(2, 6))
    values = st.floats(-4, 4, width=32).filter(lambda x: abs(x) > 1e-3)
    return shape.flatmap(lambda s: arrays(np.float32, s, elements=values))


@settings(max_examples=50, deadline=None)
@given(tables())
def test_geometry_is_that_of_all_pairs_and_of_the_whole_decomposition(table):
    found = geometry(table)
    rows = table.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [unit[i] @ unit[j] for i in range(len(rows)) for j in range(len(rows)) if i != j]
    assert found.mean_cosine == pytest.approx(np.mean(pairs), abs=1e-9)
    values = np.linalg.svd(rows, compute_uv=False)
    shares = values / values.sum()
    assert found.singular_shares == pytest.approx(shares, abs=1e-9)
    assert 1 - 1e-9 <= found.effective_rank <= min(table.shape) + 1e-9
    places = rows @ found.axes
    assert np.linalg.norm(places, axis=0) == pytest.approx(values[:2], abs=1e-6), "U2 S2"
    assert (places.mean(axis=0) >= -1e-9).all(), "turned one way, whatever the library's signs"


def test_a_cone_and_an_even_table_are_told_apart():
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


def test_similarities_are_those_of_one_row_and_field_at_a_time(build, parts, store):
    model = build(dropout=0.5)
    ids = torch.from_numpy(parts[1].ids[:70])  # more than one batch
    found = similarities(model, ids, store, "cpu")
    assert found.shape == (70, 8, 8)
    assert not model.training
    for row, f, g in ((0, 0, 0), (3, 2, 5), (69, 7, 1)):
        one = ids[row : row + 1]
        text = store.batch(one)
        hidden = mask_values(text, torch.tensor([[f]]), store.mask_id).tokens
        with torch.no_grad():
            z_text = model.icl.project_text(model.encoder(hidden, text.attention_mask)[:, 0])
            v = model.id_model.represent(mask_table(one.long(), torch.tensor([[g]])).ids)
            expected = torch.cosine_similarity(z_text, model.icl.project_table(v)).item()
        assert found[row, f, g].item() == pytest.approx(expected, abs=1e-5)


def test_a_model_that_knows_the_masked_field_finds_it_always(build, parts, store):
    """Both sides are made to project the masked field's number alone: the diagonal must win everywhere."""
    model, fields = build(), parts[0].ids.shape[1]

    class Table(nn.Module):
        def represent(self, ids):
            return (ids == 0).float()

    class Text(nn.Module):
        def forward(self, tokens, mask):
            clean = store.batch(self.ids)
            hidden = (tokens == store.mask_id) & (clean.tokens != store.mask_id)
            per_field = [(hidden & (clean.field_of == f)).any(1) for f in range(fields)]
            return torch.stack(per_field, 1).float().unsqueeze(1)

    class Heads(nn.Module):
        project_text = project_table = staticmethod(lambda x: x)

    model.id_model, model.encoder, model.icl = Table(), Text(), Heads()
    model.encoder.ids = ids = torch.from_numpy(parts[1].ids[:20])
    found = similarities(model, ids, store, "cpu")
    assert torch.equal(found, torch.eye(fields).expand(20, -1, -1))
    assert all(rate.tolist() == [1.0] * fields for rate in top1(found))


def test_without_icl_there_is_nothing_to_compare(build, parts, store):
    with pytest.raises(ValueError, match="no ICL projections"):
        similarities(build(icl=False), torch.from_numpy(parts[1].ids[:2]), store, "cpu")


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    """A pretraining and its two inspections, run as a suite does; (plan, store)."""
    folder = tmp_path_factory.mktemp("inspected")
    path = folder / "mini.yaml"
    path.write_text(
        f"suite: mini\ntitle: t\ndata: [planted-tiny]\nsettings: {TINY}\ninspect: [embeddings, alignment]\n"
        "methods: [flip]\n"
    )
    found = plan.expand(
        suite.load(str(path)), {"planted-tiny": data_store.fingerprint("planted-tiny")}, lambda *_: None
    )
    store = Store(folder / "results")
    store.prepare()
    for stage in found.stages():
        run_stage(stage, store, "cpu", 1)
    return found, store


def test_a_suite_that_inspects_pretrains_and_measures_and_scores_nothing(inspected):
    found, store = inspected
    assert [s.role for s in found.stages()] == ["pretrain", "embeddings", "alignment"]
    assert found.needed(store) == []
    (cell,) = found.cells
    assert cell.evaluations == ()
    assert [s.parents["pretrain"].key for s in cell.inspections] == [found.stages()[0].key] * 2
    for stage in cell.inspections:
        folder = store.folder(stage)
        assert {p.name for p in folder.iterdir()} == {
            *("DONE", DRAWN, "env.json", "events.jsonl", "metrics.json", "spec.json")
        }
        assert sum(p.stat().st_size for p in folder.iterdir()) < 300_000
        store.check(stage)


def test_the_stored_embeddings_are_the_pretrained_ones(inspected, table):
    from safetensors.torch import load_file

    found, store = inspected
    pretrained, stage, _ = found.stages()
    weights = load_file(store.folder(pretrained) / "model.safetensors")["id_model.embed.weight"].numpy()
    seen = np.unique(split.training_rows(table, "chronological").ids)
    metrics, drawn = store.metrics(stage), pq.read_table(store.folder(stage) / DRAWN)
    assert (metrics["features"], metrics["unseen"]) == (len(seen), table.num_features - 1 - len(seen))
    expected = geometry(weights[seen])
    assert metrics["mean_cosine"] == expected.mean_cosine
    assert len(drawn) == min(2000, len(seen))
    norms = np.sort(np.hypot(drawn["x"], drawn["y"]))
    assert norms == pytest.approx(np.sort(np.linalg.norm(weights[seen] @ expected.axes, axis=1)), rel=1e-4)
    assert set(drawn["field"].to_pylist()) == {f.name for f in table.fields}


def test_an_inspection_repeats_bit_for_bit_and_reads_no_label(inspected, monkeypatch, tmp_path):
    found, store = inspected
    before = {s.key: (store.folder(s) / DRAWN).read_bytes() for s in found.cells[0].inspections}
    again = Store(tmp_path / "again")
    again.prepare()
    pretrained = found.stages()[0]
    again.folder(pretrained).parent.mkdir(parents=True)
    again.folder(pretrained).symlink_to(store.folder(pretrained))
    from flipbench.run import stages

    whole = stages._table(pretrained)
    blind = type(whole)(**{**vars(whole), "labels": np.full(len(whole), 7, np.uint8)})
    monkeypatch.setattr(stages, "_tables", {"planted-tiny": blind})
    for stage in found.cells[0].inspections:
        run_stage(stage, again, "cpu", 1)
        assert (again.folder(stage) / DRAWN).read_bytes() == before[stage.key]
        assert again.metrics(stage) == store.metrics(stage)


def stages_of(path):
    return plan.expand(suite.load(str(path)), {"planted-tiny": "a" * 64}, lambda *_: None).stages()


def test_seeds_and_variants_are_stages_of_their_own_and_share_their_pretraining_with_a_finetuning(suite_file):
    rows = "[flip, without_mlm: {method: flip, pretrain: {mlm: false}}]"
    path = suite_file(settings=TINY, methods=rows, seeds="2", inspect="[embeddings]")
    inspected = stages_of(path)
    assert len({s.key for s in inspected}) == 8
    scored = stages_of(suite_file(settings=TINY, methods=rows, seeds="2"))
    assert {s.key for s in scored if s.role == "pretrain"} == {s.key for s in inspected if s.role == "pretrain"}
    assert json.dumps([s.spec for s in inspected])  # all JSON


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"methods": "[dcnv2]", "settings": ""}, "dcnv2: inspect: embeddings: nothing is pretrained"),
        (
            {"methods": "[bare: {method: flip, pretrain: {mlm: false, mtm: false, icl: false}}]"},
            "bare: inspect: embeddings: nothing is pretrained",
        ),
        (
            {"methods": "[blind: {method: flip, pretrain: {icl: false}}]", "inspect": "[alignment]"},
            "blind: inspect: alignment: .*pretrain.icl is off",
        ),
        ({"inspect": "[embedings]"}, "inspect.0: input should be 'embeddings' or 'alignment'"),
        ({"inspect": "[embeddings, embeddings]"}, "inspect: 'embeddings' is listed twice"),
        ({"tune": "{budget: 3}"}, "tune: nothing is finetuned where 'inspect' is given"),
    ],
)
def test_what_cannot_be_inspected_is_refused_when_planned(suite_file, changes, words):
    given = {"settings": TINY, "methods": "[flip]", "inspect": "[embeddings]", **changes}
    with pytest.raises(UserError, match=words):
        stages_of(suite_file(**given))
