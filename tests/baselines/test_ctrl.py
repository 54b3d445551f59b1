"""CTRL: its similarity against plain loops, and the pretraining that it shares with FLIP."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.ctrl import CTRL
from flipbench.methods.flip.objectives import InstanceContrast, best_parts, info_nce
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.plan import expand as plan
from flipbench.plan import registry
from flipbench.plan.stage import DataCondition, evaluation_stage

CONDITION = DataCondition("held-out", "movielens-1m", "b" * 64, "chronological")


def pretraining(method, seed=0, **changes):
    declared = registry.get(method)
    last = evaluation_stage(CONDITION, declared, plan.resolve(declared, {"plm": "small", **changes}), seed)
    return last.parents["fit"].parents["pretrain"]


@pytest.mark.parametrize("flavour", ["paper", "released"])
@pytest.mark.parametrize("changes", [{}, {"pretrain.temperature": 0.5}, {"backbone": "deepfm"}])
def test_plain_ctrl_is_an_ablation_of_flip(flavour, changes):
    """One run serves both; a suite file needs to say no more than ``icl_similarity: dot``."""
    ablation = {"pretrain.mlm": False, "pretrain.mtm": False}
    changes = {**changes, "backbone_start": "own"} if "backbone" in changes else changes
    theirs = pretraining("flip", flavour=flavour, **ablation, **changes)
    ours = pretraining("ctrl", flavour=flavour, **{"pretrain.icl_similarity": "dot"}, **changes)
    assert ours.key == theirs.key
    assert ours.spec == theirs.spec
    fine = pretraining("ctrl", flavour=flavour, **changes)
    assert fine.key != ours.key
    assert fine.spec["settings"] == {**ours.spec["settings"], "icl_similarity": "max", "icl_parts": 4}


def test_parts_are_in_a_key_only_where_they_are_read():
    dot, parts = {"pretrain.icl_similarity": "dot"}, {"pretrain.icl_parts": 8}
    assert pretraining("ctrl", **dot, **parts).key == pretraining("ctrl", **dot).key
    assert pretraining("ctrl", **parts).key != pretraining("ctrl").key
    assert pretraining("flip").key == pretraining("flip", **parts).key


def vectors():
    return st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 999)).map(
        lambda s: (s[1], torch.randn(2, s[0], s[1] * s[2], generator=torch.Generator().manual_seed(s[3])))
    )


@given(vectors())
def test_best_parts_is_the_sum_of_the_best_products(drawn):
    parts, (table, text) = drawn
    similarity = best_parts(table, text, parts)
    for i, ours in enumerate(table):
        for j, theirs in enumerate(text):
            best = [max(float(a @ b) for b in theirs.chunk(parts)) for a in ours.chunk(parts)]
            assert similarity[i, j].item() == pytest.approx(sum(best), abs=1e-5)
    assert (similarity >= table @ text.t() - 1e-5).all(), "the best parts are no worse than the matching ones"
    shuffled = text.unflatten(1, (parts, -1)).flip(1).flatten(1)
    torch.testing.assert_close(best_parts(table, shuffled, parts), similarity, rtol=1e-5, atol=1e-5)


def test_the_contrast_reads_the_similarity_that_is_set():
    torch.manual_seed(0)
    v, cls = torch.randn(9, 20), torch.randn(9, 16)

    def loss(**settings):
        torch.manual_seed(1)
        return InstanceContrast(PretrainSettings(**settings), 20, 16)(v, cls)

    assert torch.equal(loss(icl_similarity="max", icl_parts=1), loss(icl_similarity="dot"))
    assert not torch.equal(loss(icl_similarity="max", icl_parts=4), loss(icl_similarity="dot"))
    z = torch.randn(5, 8)
    assert info_nce(10 * z, z, 0.7, 2) < info_nce(10 * z, z.roll(1, 0), 0.7, 2), "matched rows are drawn together"


def test_it_finetunes_the_id_model_alone():
    declared = registry.get("ctrl")
    assert declared.load() is CTRL
    assert CTRL.collator(None) is None
    assert not {"plm_learning_rate", "alpha_start"} & declared.settings.keys()
    sources = {name: declared.settings["pretrain"][name].source for name in ("mlm", "icl_similarity", "icl_parts")}
    assert sources == {"mlm": "paper", "icl_similarity": "guess", "icl_parts": "guess"}
