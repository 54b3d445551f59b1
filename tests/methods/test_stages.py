"""FLIP as a suite plans and runs it: its flavours and settings, one pretraining shared by finetunings, resumed."""

import pytest
import torch
from tiny_clicks import Lab, make_table
from tiny_flip import plan

from flipbench.data.store import fingerprint
from flipbench.errors import UserError
from flipbench.identity import canonical
from flipbench.methods.context import MethodContext, fresh_id_model
from flipbench.plan import registry
from flipbench.plan.entries import Tune
from flipbench.plan.expand import resolve
from flipbench.plan.search import search
from flipbench.plan.settings import flatten
from flipbench.run.stages import run_stage
from flipbench.store.runs import Store
from flipbench.train.checkpoint import Checkpoint

FLIP = registry.get("flip")


def test_the_flavours_differ_by_these_settings_only():
    paper, released = (flatten(resolve(FLIP, {"flavour": flavour})) for flavour in ("paper", "released"))
    switches = ("icl_head", "icl_weight", "mtm_query", "mtm_scale", "mtm_padding", "mtm_pad_to", "mtm_head", "mtm_loss")
    assert {name for name in paper if paper[name] != released[name]} == {
        *(
            "flavour",
            "backbone",
            "backbone_start",
            "decay",
            "max_epochs",
            "learning_rate",
            "weight_decay",
            "embedding_l2",
            "fused_biases",
        ),
        *(f"pretrain.{name}" for name in (*switches, "mlm_average", "learning_rate")),
    }
    assert flatten(resolve(FLIP, {})) == paper
    with pytest.raises(UserError, match="unknown flavour 'relesed'; did you mean 'released'"):
        resolve(FLIP, {"flavour": "relesed"})


def test_the_papers_figures():
    figures = {"text_mask_ratio": 0.15, "table_mask_ratio": 0.15, "noise": 25, "temperature": 0.7}
    figures |= {"epochs": 30, "batch_size": 1024, "learning_rate": 5e-5}
    settings = resolve(FLIP, {})
    assert figures.items() <= settings["pretrain"].items()
    assert settings["batch_size"] == 256


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"pretrain.text_mask_ratio": 0.0}, "flip: pretrain.text_mask_ratio: 0.0 is not between"),
        ({"pretrain.table_mask_ratio": 1.01}, "pretrain.table_mask_ratio: 1.01 is not between 1e-06 and 1"),
        ({"pretrain.text_mask_ratio": float("nan")}, "pretrain.text_mask_ratio: nan is no finite number"),
        ({"pretrain.temperature": 0.0}, "pretrain.temperature: 0.0 is not"),
        ({"pretrain.noise": 0}, "pretrain.noise: 0 is not between 1"),
        ({"pretrain.batch_size": 1}, "pretrain.batch_size: 1 is below 2"),
        ({"pretrain.icl_weight": -1.0}, "pretrain.icl_weight: -1.0 is not"),
        ({"pretrain.mtm_loss": "ncee"}, "pretrain.mtm_loss: unknown 'ncee'; did you mean 'nce'"),
        ({"pretrain.precision": "float16"}, "pretrain.precision: unknown 'float16'; did you mean"),
        ({"patience": 0}, "flip: patience: 0 is not"),
        ({"batch_size": 1, "backbone_batch_norm": True}, "flip: batch_size: 1 is below 2: batch norm"),
        ({"weight_decay": -1}, "flip: weight_decay: -1.0 is not"),
    ],
)
def test_bad_values_are_named(given, words):
    with pytest.raises(UserError, match=words):
        resolve(FLIP, given)


def test_one_pretraining_serves_all_finetunings(suite_file):
    slow, other = "{method: flip, learning_rate: 1e-5}", "{method: flip, pretrain: {temperature: 0.5}}"
    methods = f"[flip, flip_id, flip_plm, slow: {slow}, other: {other}]"
    planned = plan(suite_file(settings="{plm: small}", methods=methods)).stages()
    pretrainings = [s for s in planned if s.role == "pretrain"]
    assert len(pretrainings) == 2, "a temperature is another pretraining, a finetuning's learning rate is not"
    parents = [s.parents["pretrain"] for s in planned if s.role == "select"]
    assert parents == [pretrainings[0]] * 4 + [pretrainings[1]]


def test_a_backbones_dropout_starts_from_the_same_pretraining(suite_file):
    dropout, norm = "{method: flip_id, backbone_dropout: 0.2}", "{method: flip_id, backbone_batch_norm: true}"
    methods = f"[flip_id, dropout: {dropout}, norm: {norm}]"
    cells = plan(suite_file(settings="{plm: small}", methods=methods)).cells
    selections = [cell.evaluations[0].parents["fit"].parents["select"] for cell in cells]
    before = [selection.parents["pretrain"] for selection in selections]
    assert before[0].key == before[1].key != before[2].key
    own = selections[0].spec["backbone"]["settings"]
    assert [s.spec["backbone"]["settings"] for s in selections[1:]] == [
        {**own, "dropout": 0.2},
        {**own, "batch_norm": True},
    ]
    assert before[2].spec["backbone"] == selections[2].spec["backbone"]
    assert before[0].spec["backbone"]["settings"] == own
    assert not [name for s in selections for name in s.spec["settings"] if name.startswith("backbone")], "said once"
    assert len({s.key for s in selections}) == 3


def test_more_padding_than_the_language_model_reads_is_refused(tmp_path, monkeypatch):
    lab = Lab(tmp_path, make_table(tmp_path, rows=100), monkeypatch)
    with pytest.raises(UserError, match=r"pretrain\.mtm_pad_to: 513; nearest: 512"):
        lab.run("flip", **{"pretrain.mtm_padding": True, "pretrain.mtm_pad_to": 513})


@pytest.mark.parametrize("more", [{}, {"backbone_batch_norm": True}])
def test_a_backbone_with_dropout_starts_from_its_pretraining(tmp_path, monkeypatch, more):
    """Its layers have other numbers than in the pretraining."""
    lab = Lab(tmp_path, make_table(tmp_path, rows=200), monkeypatch)
    first, select, *_ = lab.chain("flip_id", backbone_dropout=0.5, **more)
    lab.run("flip_id", until="evaluate", backbone_dropout=0.5, **more)
    plain = MethodContext(lab.chain("flip_id", **more)[1], lab.table, lab.store).id_model().state_dict()
    dropped = MethodContext(select, lab.table, lab.store).id_model().state_dict()
    assert list(plain) != list(dropped)
    for one, other in zip(plain.values(), dropped.values(), strict=True):
        assert torch.equal(one, other)
    fresh = fresh_id_model("deepfm", select.spec["backbone"]["settings"], lab.table, 0).state_dict()
    assert not torch.equal(fresh["mlp.0.weight"], dropped["mlp.0.weight"])
    assert first.role == "pretrain"


@pytest.mark.parametrize("method", ["flip", "flip_id", "flip_plm", "ctrl", "alt", "alt_id", "alt_plm"])
def test_a_search_has_ninety_points(method):
    declared = registry.get(method)
    how = Tune(search="sobol", budget=90)
    settings = flatten(resolve(declared, {}))
    found = search(how, flatten(declared.grid), settings, {}, canonical, lambda *_: None)
    assert len({canonical(point) for point in found.points}) == 90


def test_the_tables_share_the_pretraining_of_table_2():
    def pretrainings(name, *only):
        return {s.key for s in plan(name, ["dataset=movielens-1m", *only]).stages() if s.role == "pretrain"}

    two = pretrainings("table2", "model=flip,flip_id,flip_plm")
    others = [pretrainings(name) for name in ("table3", "table5", "table7")]
    assert [len(two), *map(len, others)] == [10, 30, 30, 80]
    assert all(two < other for other in others)


def test_without_any_objective_there_is_no_pretraining(suite_file):
    methods = "[none: {method: flip, pretrain: {mlm: false, mtm: false, icl: false}}]"
    planned = plan(suite_file(settings="{plm: small}", methods=methods)).stages()
    assert [s.role for s in planned] == ["select", "refit", "evaluate"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("{plm: small, backbone: dcnv3}", "unknown model 'dcnv3'; did you mean 'dcnv2'"),
        ("{plm: no/such/folder/here}", "PLM 'no/such/folder/here': no such folder"),
        ("{plm: roberta-base}", "a hub id needs a revision"),
        (
            "{plm: small, backbone: deepfm, backbone_start: released}",
            "flip: backbone_start: 'deepfm' has no setting 'start'; nearest: own",
        ),
        (
            "{plm: small, backbone: afm, backbone_batch_norm: true}",
            "backbone_batch_norm: 'afm' has no setting 'batch_norm'; nearest: false",
        ),
    ],
)
def test_parts_that_do_not_exist_are_refused_when_planned(suite_file, settings, words):
    with pytest.raises(UserError, match=words):
        plan(suite_file(settings=settings, methods="[flip]"))


def test_killed_in_every_stage_flip_ends_with_the_same_bits(suite_file, tmp_path, monkeypatch):
    tiny = "{plm: small, max_epochs: 1, batch_size: 128, pretrain: {epochs: 2, batch_size: 128}}"
    path = suite_file(data="[{name: planted-tiny, users: 0.1}]", settings=tiny, methods="[flip]")
    planned = plan(path, fingerprint=fingerprint("planted-tiny")).stages()
    save, kills = Checkpoint.save, []

    def save_and_die(self, state):
        save(self, state)
        if len(kills) < 2:
            kills.append(state["epoch"])
            raise KeyboardInterrupt

    def run(folder, die):
        store, figures = Store(folder), {}
        store.prepare()
        for stage in planned:
            kills.clear()
            while stage.role not in figures:
                try:
                    figures[stage.role] = run_stage(stage, store, "cpu", 1)
                except KeyboardInterrupt:
                    assert die
            assert len(kills) == (2 if die and stage.trains else 0)
        return figures, (store.folder(stage) / "predictions.parquet").read_bytes()

    undisturbed = run(tmp_path / "undisturbed", die=False)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    monkeypatch.setattr(Checkpoint, "save", save_and_die)
    assert run(tmp_path / "killed", die=True) == undisturbed
