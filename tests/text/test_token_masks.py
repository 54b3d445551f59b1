"""BERT's corruption of single tokens, against its rule."""

import pytest
import torch

from flipbench.text.masking import corrupt_tokens, masked_token_batches
from flipbench.train.rng import Streams


def test_bert_corruption_shares(store, table):
    text = store.batch(torch.from_numpy(table.ids.repeat(200, 0)))
    keys = torch.rand(*text.tokens.shape, 3, generator=torch.Generator().manual_seed(0))
    mask = corrupt_tokens(text, keys, 0.15, store)
    corrupted, clean = mask.tokens.flatten(), text.tokens.flatten()
    assert torch.equal(clean[mask.positions], mask.targets)
    rest = torch.ones(len(clean), dtype=torch.bool)
    rest[mask.positions] = False
    assert torch.equal(corrupted[rest], clean[rest])
    special = torch.isin(clean, torch.tensor([store.cls_id, store.sep_id, store.pad_id]))
    assert not special[mask.positions].any()
    assert len(mask.positions) / int((~special).sum()) == pytest.approx(0.15, abs=3e-3)
    chosen = corrupted[mask.positions]
    masked, kept = chosen == store.mask_id, chosen == mask.targets
    assert masked.float().mean() == pytest.approx(0.8, abs=0.01)
    assert kept.float().mean() == pytest.approx(0.1, abs=0.01)
    random = chosen[~masked & ~kept]
    assert random.unique().numel() > 0.95 * store.vocab_size - 2, "any token of the vocabulary"
    wider = torch.cat([keys, torch.rand(len(keys), 5, 3)], dim=1)  # drawn for a larger batch
    assert torch.equal(corrupt_tokens(text, wider, 0.15, store).tokens, mask.tokens)


def test_batches_follow_seed_epoch_step(store, table):
    ids, everything = torch.from_numpy(table.ids[:64]), slice(None)
    make = masked_token_batches(store, 0.15, Streams(3))
    whole = make(ids, 1, 5, everything)
    assert torch.equal(whole.mask.tokens, make(ids, 1, 5, everything).mask.tokens)
    other_seed = masked_token_batches(store, 0.15, Streams(4))(ids, 1, 5, everything)
    for other in (make(ids, 1, 6, everything), make(ids, 2, 5, everything), other_seed):
        assert not torch.equal(whole.mask.tokens, other.mask.tokens)
    halves = [make(ids, 1, 5, share) for share in (slice(0, 32), slice(32, 64))]
    assert sorted(torch.cat([half.mask.targets for half in halves]).tolist()) == sorted(whole.mask.targets.tolist())
    assert whole.text.lengths.tolist() == sorted(whole.text.lengths.tolist())
