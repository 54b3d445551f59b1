"""Stored tokens against whole sentences, and gathered rows against a slow literal reference."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_plm import PLM, needs_plm
from tiny_text import FAMILIES, VALUES, make_table
from tokenizers import Tokenizer, models, pre_tokenizers

from flipbench.data.fetch import import_from
from flipbench.data.store import values
from flipbench.errors import UserError
from flipbench.text import prompt
from flipbench.text.tokenizer import from_folder, wrap
from flipbench.text.tokens import TokenStore, check_length

DATA = os.environ.get("FLIPBENCH_DATA", "")


def reference(table, tokenizer, row):
    """Tokens and fields of a row from its whole sentence, character by character."""
    texts = values(table).to_pylist()
    text, spans = "", []
    for f, (field, i) in enumerate(zip(table.fields, row, strict=True)):
        text += f"{' ' if f else ''}{field.words} is "
        spans.append((len(text), len(text) + len(texts[i - 1])))
        text += texts[i - 1] + "."
    whole = tokenizer.rust.encode(text)
    assert whole.ids == tokenizer.sentences([text])[0]
    fields = []
    for (first, last), special in zip(whole.offsets, whole.special_tokens_mask, strict=True):
        characters = set(range(first, max(last, first + 1)))
        owners = [f for f, span in enumerate(spans) if characters & set(range(*span))]
        fields.append(-1 if special or not owners else owners[0])
    return whole.ids, fields


@pytest.mark.parametrize("family", FAMILIES)
def test_gathered_rows_are_the_whole_sentences(family, tiny, table):
    tokenizer = tiny(family)
    store = TokenStore.build(table, tokenizer)
    batch = store.batch(torch.from_numpy(table.ids))
    assert len(batch.tokens) == len(table)
    assert batch.tokens.dtype == batch.lengths.dtype == batch.field_of.dtype == torch.int64
    assert batch.tokens.shape[1] == batch.lengths.max() == store.longest(torch.from_numpy(table.ids))
    assert torch.equal(batch.lengths, store.lengths(torch.from_numpy(table.ids)))
    for r, row in enumerate(table.ids.tolist()):
        tokens, fields = reference(table, tokenizer, row)
        padding = batch.tokens.shape[1] - len(tokens)
        assert batch.tokens[r].tolist() == tokens + [store.pad_id] * padding
        assert batch.field_of[r].tolist() == fields + [-1] * padding
        assert batch.attention_mask[r].tolist() == [True] * len(tokens) + [False] * padding
        assert batch.lengths[r] == len(tokens)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_text_of_any_shape(tiny, tmp_path_factory, data):
    fields = data.draw(st.integers(1, 4))
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    vocabularies = [data.draw(st.lists(text, min_size=1, max_size=4)) for _ in range(fields)]
    table = make_table(tmp_path_factory.mktemp("any"), vocabularies, [f"field {f}" for f in range(fields)], rows=5)
    tokenizer = tiny(data.draw(st.sampled_from(FAMILIES)))
    store = TokenStore.build(table, tokenizer, sample=1)
    batch = store.batch(torch.from_numpy(table.ids[: data.draw(st.integers(1, 5))]))
    for tokens, length, row in zip(batch.tokens.tolist(), batch.lengths.tolist(), table.ids.tolist(), strict=False):
        assert tokens[:length] == reference(table, tokenizer, row)[0]


def test_special_tokens_stand_where_the_tokenizer_puts_them(tiny, table):
    for family in ("wordpiece", "byte-level"):
        store = TokenStore.build(table, tiny(family))
        batch = store.batch(torch.from_numpy(table.ids))
        assert (batch.tokens[:, 0] == store.cls_id).all()
        assert (batch.tokens.gather(1, batch.lengths.unsqueeze(1) - 1) == store.sep_id).all()
        assert len({store.cls_id, store.sep_id, store.mask_id, store.pad_id}) == 4
        assert (batch.tokens == store.mask_id).sum() == 0  # "[MASK]" in a title is text
        assert (batch.tokens == store.sep_id).sum() == len(table)
    store = TokenStore.build(table, tiny("unigram"))
    with pytest.raises(UserError, match="tokenizer 'tiny unigram' has no cls token"):
        _ = store.cls_id
    with pytest.raises(UserError, match="has no mask token"):
        _ = store.mask_id
    assert store.sep_id == store.tokenizer.rust.token_to_id("</s>")


def test_full_stop_of_byte_level_tokens(tiny, table):
    ids = torch.from_numpy(table.ids[:1].copy())
    ids[0, 1] = int(table.offsets[1]) + VALUES[1].index("Wait...")
    for family, merged in (("wordpiece", False), ("byte-level", True)):
        tokenizer = tiny(family)
        batch = TokenStore.build(table, tokenizer).batch(ids)
        title = batch.tokens[0][batch.field_of[0] == 1].tolist()
        assert tokenizer.rust.decode(title).count(".") == 3 + merged


def test_the_mask_feature_has_an_empty_piece(store, table):
    ids = torch.from_numpy(table.ids[:4].copy())
    full = store.lengths(ids)
    ids[:, 1] = 0
    batch = store.batch(ids)
    assert (batch.lengths < full).all()
    assert (batch.field_of != 1).all()
    assert set(batch.field_of.unique().tolist()) <= {-1, 0, 2}


def test_a_tokenizer_that_merges_across_fields_is_refused(table):
    characters = sorted({c for values_ in VALUES for v in values_ for c in v} | set("user id title genre is ."))
    vocabulary = {token: i for i, token in enumerate(["[PAD]", *characters, ". "])}
    rust = Tokenizer(models.BPE(vocab=vocabulary, merges=[(".", " ")]))
    with pytest.raises(UserError, match=r"'glue' merges across fields: at 'user id', feature \d+ of some-table") as e:
        TokenStore.build(table, wrap(rust, "glue"))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("size", [1 << 16, (1 << 16) + 1, 100_000])
def test_token_ids_of_any_size_come_back(size, table):
    words = ["[PAD]", "[UNK]", *(f"w{i}" for i in range(2, size))]
    rust = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    vocabularies = [[f"w{i}" for i in (5, 32_767, 32_768, 65_535, size - 1)]]
    few = make_table(table.folder / str(size), vocabularies, ["name"], rows=20)
    store = TokenStore.build(few, wrap(rust, "large"))
    batch = store.batch(torch.from_numpy(few.ids))
    wanted = torch.tensor([int(values(few)[i - 1].as_py()[1:]) for i in few.ids[:, 0].tolist()])
    assert torch.equal(batch.tokens[batch.field_of == 0], wanted)
    assert store.tokens.dtype == (torch.int16 if size == 1 << 16 else torch.int32)


def test_text_longer_than_the_positions_is_counted(store, table):
    ids = torch.from_numpy(table.ids)
    lengths = store.lengths(ids)
    longest = int(lengths.max())
    check_length(store, ids, longest)
    longer = int((lengths > longest - 2).sum())
    words = rf"'tiny wordpiece': {longer} of 200 rows have more than the {longest - 2} .*\(the longest {longest}\)"
    with pytest.raises(UserError, match=words):
        check_length(store, ids, longest - 2)


def test_a_piece_beyond_the_spans_is_refused_not_wrapped(tiny, tmp_path):
    table = make_table(tmp_path, [["1"], ["a " * 33_000], ["x"]], rows=2)
    with pytest.raises(UserError, match=r"a value of 'title' has 33\d\d\d tokens"):
        TokenStore.build(table, tiny("wordpiece"))


def test_a_tokenizers_own_padding_and_truncation_are_off(tiny):
    texts, tokenizer = ["title is Wait...", "genre is Drama."], tiny("wordpiece")
    again = Tokenizer.from_str(tokenizer.rust.to_str())
    again.enable_padding(length=128)
    again.enable_truncation(3)
    assert wrap(again, "again").sentences(texts) == tokenizer.sentences(texts)


@pytest.fixture(scope="module")
def movielens(own_home):
    if not (Path(DATA) / "ml-1m").is_dir():
        pytest.skip("FLIPBENCH_DATA names no folder that holds ml-1m")
    return import_from("movielens-1m", DATA)


@pytest.mark.parametrize("folder", ["all-MiniLM-L6-v2", "roberta-base", "t5-small"])
@needs_plm
def test_twenty_thousand_real_rows(folder, movielens):
    tokenizer = from_folder(PLM / folder, folder)
    store = TokenStore.build(movielens, tokenizer)
    ids = movielens.ids[np.random.default_rng(1).integers(len(movielens), size=20_000)]
    batch = store.batch(torch.from_numpy(ids))
    whole = tokenizer.sentences(prompt.sentences(movielens, ids))
    assert [row[:n] for row, n in zip(batch.tokens.tolist(), batch.lengths.tolist(), strict=True)] == whole
    if folder == "all-MiniLM-L6-v2":
        lengths = torch.cat([store.lengths(part) for part in torch.split(torch.from_numpy(movielens.ids), 1 << 16)])
        assert lengths.max() == 74
        assert lengths.double().mean() == pytest.approx(50.493, abs=0.001)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gathers_what_the_cpu_gathers(tiny, table):
    store = TokenStore.build(table, tiny("byte-level"))
    ids = torch.from_numpy(table.ids)
    here, there = store.batch(ids), store.to("cuda").batch(ids.cuda())
    for name in ("tokens", "lengths", "field_of"):
        assert torch.equal(getattr(here, name), getattr(there, name).cpu())


def test_sampled_rows_catch_a_store_that_differs(tiny, table):
    lost = replace(tiny("byte-level"), prefix=())  # as if its template had not been understood
    with pytest.raises(UserError, match="merges across fields"):
        TokenStore.build(table, lost)
