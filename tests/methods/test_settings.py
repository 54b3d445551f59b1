"""The two flavours, and values that no run should start with."""

from dataclasses import fields

import pytest

from flipbench.errors import UserError
from flipbench.methods.flip import settings
from flipbench.methods.flip.settings import PAPER, RELEASED, FinetuneSettings, PretrainSettings


def differing(a, b):
    return {f.name for f in fields(a) if getattr(a, f.name) != getattr(b, f.name)}


def test_the_flavours_differ_by_these_switches_only():
    assert differing(PAPER.pretrain, RELEASED.pretrain) == {
        *("icl_head", "icl_weight", "mtm_query", "mtm_scale", "mtm_padding"),
        *("mtm_head", "mtm_loss", "mlm_average", "learning_rate"),
    }
    assert differing(PAPER.finetune, RELEASED.finetune) == {"learning_rate", "weight_decay", "embedding_l2"}


def test_the_papers_figures():
    p = PAPER.pretrain
    assert (p.text_mask_ratio, p.table_mask_ratio, p.noise, p.temperature) == (0.15, 0.15, 25, 0.7)
    assert (p.epochs, p.batch_size, p.learning_rate) == (30, 1024, 5e-5)
    assert PAPER.finetune.batch_size == 256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text_mask_ratio": 0.0}, "text_mask_ratio: 0 is not above 0"),
        ({"table_mask_ratio": 1.01}, "table_mask_ratio: 1.01 is not above 0 and at most 1"),
        ({"text_mask_ratio": float("nan")}, "text_mask_ratio: nan"),
        ({"temperature": 0.0}, "temperature: 0"),
        ({"noise": 0}, "noise: 0"),
        ({"batch_size": 1}, "batch_size: 1 is below 2"),
        ({"icl_weight": -1.0}, "icl_weight: -1 is below 0"),
        ({"mtm_loss": "ncee"}, "mtm_loss: unknown 'ncee'; did you mean 'nce'"),
        ({"precision": "float16"}, "precision: unknown 'float16'; did you mean"),
        ({"mlm": False, "mtm": False, "icl": False}, "nothing to pretrain"),
    ],
)
def test_bad_values_are_named(change, words):
    with pytest.raises(UserError, match=words):
        PretrainSettings(**change)


def test_bad_finetuning_values_are_named():
    with pytest.raises(UserError, match="patience: 0"):
        FinetuneSettings(patience=0)
    with pytest.raises(UserError, match="weight_decay: -1"):
        FinetuneSettings(weight_decay=-1)


def test_every_setting_says_where_it_comes_from():
    import ast
    import inspect

    tree = ast.parse(inspect.getsource(settings))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Settings"):
            for item, after in zip(node.body, node.body[1:], strict=False):
                if isinstance(item, ast.AnnAssign):
                    documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                    assert documented, ast.unparse(item)
