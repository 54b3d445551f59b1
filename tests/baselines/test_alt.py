"""ALT: FLIP's pretraining and its three finetunings under their first name."""

from tiny_clicks import Lab, make_table

from flipbench.plan import registry

PAIRS = (("alt", "flip"), ("alt_id", "flip_id"), ("alt_plm", "flip_plm"))
SHORT = {"batch_size": 64, "pretrain.batch_size": 128}


def test_alt_equals_flip(tmp_path, monkeypatch):
    lab = Lab(tmp_path, make_table(tmp_path, rows=200), monkeypatch)
    chains = {name: lab.chain(name, **SHORT) for pair in PAIRS for name in pair}
    assert len({chain[0].key for chain in chains.values()}) == 1
    assert len({chain[-1].key for chain in chains.values()}) == 6, "runs of their own"
    figures = {name: lab.run(name, **SHORT) for name in chains}
    for ours, theirs in PAIRS:
        assert figures[ours] == figures[theirs]
    assert len({str(figures[ours]["evaluate"]) for ours, _ in PAIRS}) == 3
    assert len(list(lab.store.root.glob("*/pretraining/pretrain-*"))) == 1


def test_alt_declares_what_flip_does():
    for ours, theirs in ((registry.get(alt), registry.get(flip)) for alt, flip in PAIRS):
        assert (ours.kind, ours.settings, ours.grid) == (theirs.kind, theirs.settings, theirs.grid)
        assert "arXiv 2310.19453v1" in ours.summary
