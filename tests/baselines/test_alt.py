"""ALT: FLIP's pretraining and its three finetunings under their first name."""

import pytest
from tiny_clicks import Lab, make_table

from flipbench.plan import registry

PAIRS = (("alt", "flip"), ("alt_id", "flip_id"), ("alt_plm", "flip_plm"))
SHORT = {"max_epochs": 1, "batch_size": 128, "pretrain.batch_size": 256}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    return Lab(tmp_path, make_table(tmp_path, rows=400), monkeypatch)


def test_its_three_products_are_flips_bit_for_bit_from_one_pretraining(lab):
    chains = {name: lab.chain(name, **SHORT) for pair in PAIRS for name in pair}
    assert len({chain[0].key for chain in chains.values()}) == 1
    assert len({chain[-1].key for chain in chains.values()}) == 6, "runs of their own"
    figures = {name: lab.run(name, **SHORT) for name in chains}
    for ours, theirs in PAIRS:
        assert figures[ours] == figures[theirs]
    assert len({str(figures[ours]["evaluate"]) for ours, _ in PAIRS}) == 3
    assert len(list(lab.store.root.glob("*/pretraining/pretrain-*"))) == 1


def test_each_names_what_it_serves():
    assert [registry.get(ours).kind for ours, _ in PAIRS] == ["hybrid", "hybrid", "plm"]
    for ours, theirs in PAIRS:
        assert registry.get(ours).settings == registry.get(theirs).settings
        assert registry.get(ours).grid == registry.get(theirs).grid
        assert "arXiv 2310.19453v1" in registry.get(ours).summary
