"""What is hidden, how much of it, and how evenly."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import chisquare
from tiny_flip import counts, draw, planted_rows, tokens

from flipbench.errors import UserError
from flipbench.methods.flip.masking import draw_fields, mask_table, mask_values, masked_fields
from flipbench.methods.flip.noise import Noise, feature_counts, frequencies
from flipbench.methods.flip.settings import PretrainSettings


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("fields", "ratio", "masked"),
    [(8, 0.15, 1), (8, 0.3, 2), (8, 0.6, 4), (15, 0.15, 2), (15, 0.3, 4), (15, 0.6, 9), (8, 1.0, 8), (8, 0.01, 1)],
)
def test_a_ratio_is_so_many_fields(fields, ratio, masked):
    assert masked_fields(fields, ratio) == masked
    chosen = draw_fields(500, fields, ratio, seeded())
    assert chosen.shape == (500, masked)
    assert all(len(set(row)) == masked for row in chosen.tolist()), "distinct fields"
    assert (chosen.min() >= 0) & (chosen.max() < fields)


@given(st.integers(1, 200), st.integers(1, 100))
@example(100, 29)
def test_no_rounding_error_costs_a_field(fields, percent):
    assert masked_fields(fields, percent / 100) == max(1, fields * percent // 100)


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.1, float("nan"), float("inf")])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(UserError, match="mask ratio"):
        masked_fields(8, ratio)


def test_every_set_of_fields_is_equally_likely():
    chosen = draw_fields(21_000, 7, 0.3, seeded(3))  # 21 pairs of 7 fields
    seen = np.bincount((chosen[:, 0] * 7 + chosen[:, 1]).numpy(), minlength=49)
    assert (seen > 0).sum() == 21
    assert chisquare(seen[seen > 0]).pvalue > 0.001


def test_chosen_fields_are_hidden():
    ids = torch.arange(1, 41, dtype=torch.int32).view(5, 8)
    before = ids.clone()
    fields = draw_fields(5, 8, 0.3, seeded())
    mask = mask_table(ids, fields)
    hidden = mask.ids == 0
    assert torch.equal(hidden.nonzero()[:, 1].view(5, 2), fields)
    assert torch.equal(ids.gather(1, fields).long(), mask.targets)
    assert torch.equal(mask.ids[~hidden], ids[~hidden])
    assert torch.equal(ids, before), "the clean ids are still needed"


@pytest.mark.parametrize("ratio", [0.15, 0.6, 1.0])
def test_chosen_values_are_hidden(ratio):
    ids = torch.from_numpy(planted_rows()[0].ids[:100])
    batch = tokens().batch(ids)
    fields = draw_fields(100, 8, ratio, seeded())
    mask = mask_values(batch, fields, tokens().mask_id)
    length = batch.tokens.shape[1]
    expected = [  # the rule of IV-C1, literally
        row * length + column
        for row in range(100)
        for column in range(length)
        if int(batch.field_of[row, column]) in fields[row].tolist()
    ]
    assert mask.positions.tolist() == expected
    assert torch.equal(mask.targets, batch.tokens.flatten()[mask.positions])
    assert (mask.tokens.flatten()[mask.positions] == tokens().mask_id).all()
    kept = torch.ones(100 * length, dtype=torch.bool)
    kept[mask.positions] = False
    assert torch.equal(mask.tokens.flatten()[kept], batch.tokens.flatten()[kept])
    assert (batch.field_of.flatten()[mask.positions] >= 0).all()


def test_single_tokens_are_hidden():
    batch = draw(PretrainSettings(mask_unit="token"))
    mask, text = batch.masks.text, batch.text
    length = text.tokens.shape[1]
    rows = torch.bincount(mask.positions // length, minlength=len(text.tokens))
    assert torch.equal(rows, ((text.lengths - 2) * 15 // 100).clamp(min=1))
    for special in (tokens().cls_id, tokens().sep_id, tokens().pad_id):
        assert not (mask.targets == special).any()
    assert (text.field_of.flatten()[mask.positions] == -1).any(), "names of fields may be hidden too"
    columns = mask.positions % length
    assert len(columns.unique()) > length // 2, "anywhere in the sentence"


def test_as_many_single_tokens_as_the_values_have():
    """Row for row, from one draw of the fields; special tokens never, all others alike."""
    ratio = {"text_mask_ratio": 0.3}
    field, equal = (draw(PretrainSettings(mask_unit=unit, **ratio)) for unit in ("field", "token-equal"))
    length = field.text.tokens.shape[1]
    rows = [torch.bincount(b.masks.text.positions // length, minlength=48) for b in (field, equal)]
    assert torch.equal(*rows)
    assert len(rows[0].unique()) > 2
    counts = torch.zeros(48 * length)
    for step in range(400):
        counts[draw(PretrainSettings(mask_unit="token-equal", **ratio), step=step).masks.text.positions] += 1
    hidden = (counts.view(48, length) > 0) == (torch.arange(length) > 0) & (
        torch.arange(length) < equal.text.lengths.unsqueeze(1) - 1
    )
    assert hidden.all()


def test_the_share_of_a_process_is_what_one_process_draws():
    for unit in ("field", "token", "token-equal"):
        settings = PretrainSettings(mask_unit=unit)
        whole = draw(settings)
        halves = [draw(settings, share=s) for s in (slice(0, 24), slice(24, 48))]
        assert sorted(row for half in halves for row in literal(half)) == sorted(literal(whole))


def literal(batch):
    """Everything drawn for each row; the order of a batch's rows is its own."""
    masks, lengths = batch.masks, batch.text.lengths
    tokens = [row[:length].tolist() for row, length in zip(masks.text.tokens, lengths, strict=True)]
    parts = batch.ids.tolist(), masks.table.ids.tolist(), masks.candidates.tolist(), tokens
    return [*zip(*parts, strict=True)]


def test_draws_follow_seed_epoch_step():
    one = draw(PretrainSettings(), 1, 2, 3)
    torch.rand(7)
    again, alone = draw(PretrainSettings(), 1, 2, 3), draw(PretrainSettings(mlm=False, icl=False), 1, 2, 3)
    assert torch.equal(one.masks.candidates, again.masks.candidates)
    assert torch.equal(one.masks.text.positions, again.masks.text.positions)
    assert torch.equal(one.masks.candidates, alone.masks.candidates), "an ablation keeps the others' draws"
    positions = one.masks.text.positions
    in_table = one.masks.table.fields[positions // one.text.tokens.shape[1], 0]
    assert (one.text.field_of.flatten()[positions] == in_table).float().mean() < 0.5, "text and table are independent"
    for place in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        other = draw(PretrainSettings(), *place)
        assert not torch.equal(one.masks.text.tokens, other.masks.text.tokens)
        assert (one.masks.candidates == other.masks.candidates)[..., 1:].float().mean() < 0.5
        assert not torch.equal(one.masks.table.ids, other.masks.table.ids)


def test_noise_comes_as_often_as_features_occur():
    occurring = counts().numpy()
    assert occurring[0] == 0, "the mask feature is in no clean row"
    drawn = Noise(counts()).draw(4000, 2, 25, seeded(1)).flatten()
    observed, expected = np.bincount(drawn, minlength=len(occurring)), occurring * (len(drawn) / occurring.sum())
    seen = expected > 0
    assert observed[~seen].sum() == 0
    assert expected[seen].min() > 5, "what the statistic needs"
    assert chisquare(observed[seen], expected[seen]).pvalue > 0.001


def test_frequencies_are_floored_and_sum_to_one():
    q = frequencies(torch.tensor([0, 3, 1, 0]))
    torch.testing.assert_close(q, torch.tensor([1e-10, 0.75, 0.25, 1e-10]).double())
    assert q.sum().item() == pytest.approx(1.0, abs=1e-15)


def test_rows_with_the_mask_feature_are_not_clean():
    with pytest.raises(ValueError, match="mask feature 0 occurs 2 times"):
        feature_counts(torch.tensor([[1, 0], [2, 0]]), 3)
    assert feature_counts(torch.tensor([[1, 3], [2, 3]]), 6).tolist() == [0, 1, 1, 2, 0, 0]
