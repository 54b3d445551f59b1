"""bfloat16 products leave rows apart: logits are float32, in every method."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_clicks import make_table

from flipbench.data.split import Rows
from flipbench.models.precision import autocast
from flipbench.plan import registry
from flipbench.run.tasks import fit_task

METHODS = [name for kind in ("id", "plm", "hybrid") for name in registry.names(kind)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Of so many users and items that hardly two rows are alike."""
    made = make_table(tmp_path_factory.mktemp("clicks"), rows=400, users=200, items=200)
    return replace(made, fingerprint="a" * 64)  # tokens are kept by it


@pytest.mark.parametrize("method", METHODS)
def test_unlike_rows_have_unlike_logits_in_bfloat16(lab, table, method):
    unlike = len(np.unique(table.ids, axis=0))
    assert unlike > 390
    *_, fit, _evaluate = lab.chain(method, precision="bfloat16")
    task = fit_task(fit, table, None, "cpu")  # from fresh parts: pretrained or not, heads are applied alike
    logits = task.predict(task.build(), Rows(table.ids, table.labels, table.ids[:, 0]))
    assert logits.dtype == np.float32
    assert len(np.unique(logits)) > 0.95 * unlike


def test_a_representation_is_scored_in_float32_under_autocast(build, name, ids):
    model = build(name, std=0.3).eval()
    v = model.represent(ids)
    plain = model.score(ids, v)
    with autocast("bfloat16", torch.device("cpu")):
        assert torch.equal(model.score(ids, v), plain)
        assert model.score(ids, v.bfloat16()).dtype == torch.float32
