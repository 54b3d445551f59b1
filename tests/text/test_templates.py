"""Stored prompts in several wordings against their whole sentences."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_plm import PLM, needs_plm
from tiny_text import FAMILIES
from tokenizers import Tokenizer, models, pre_tokenizers

from flipbench.data.store import values
from flipbench.errors import UserError
from flipbench.text.templates import Templated, TemplateStore, expand
from flipbench.text.tokenizer import from_folder, wrap

TEMPLATES = ("{user} {item} Is it liked?", "An item: {item} Its user: {user}", "{item} {user}")


def whole(table, template, row):
    """The prompt of a row of ids as one text."""
    return expand(table, template, [values(table)[i - 1].as_py() for i in row.tolist()])


@pytest.mark.parametrize("family", FAMILIES)
def test_gathered_prompts_are_the_whole_sentences(family, tiny, table):
    tokenizer = tiny(family)
    if family == "byte-level":  # a space before a sentence's first word is a character there, so order matters
        with pytest.raises(UserError, match="merges across a template's parts"):
            TemplateStore.build(table, tokenizer, TEMPLATES)
        return
    store = TemplateStore.build(table, tokenizer, TEMPLATES)
    ids = torch.from_numpy(table.ids[:60].copy())
    template = torch.arange(60) % len(TEMPLATES)
    batch = store.batch(ids, template)
    assert torch.equal(batch.lengths, store.lengths(ids, template))
    for row, number in enumerate(template.tolist()):
        length = int(batch.lengths[row])
        assert [batch.tokens[row, :length].tolist()] == tokenizer.sentences([whole(table, TEMPLATES[number], ids[row])])
        assert (batch.tokens[row, length:] == tokenizer.pad_id).all()
    # the same values' tokens belong to the same fields, wherever the template puts them
    plain = store.batch(ids, torch.zeros(60, dtype=torch.int64))
    for f in range(len(table.fields)):
        for row in range(60):
            here, there = (each.tokens[row][each.field_of[row] == f] for each in (batch, plain))
            assert here.tolist() == there.tolist()


def test_the_wording_of_an_example(table):
    assert expand(table, TEMPLATES[1], ["12", "Wait...", "Drama"]) == (
        "An item: title is Wait.... genre is Drama. Its user: user id is 12."
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=12))
def test_any_literal_is_kept_or_refused(tiny, table, text):
    """A literal may only be refused because the tokenizer merges across it."""
    template = f"{{user}} {text} {{item}}"
    try:
        store = TemplateStore.build(table, tiny("wordpiece"), [template], sample=4)
    except UserError as error:
        assert "merges across" in str(error)  # noqa: PT017
        return
    batch = store.batch(torch.from_numpy(table.ids[7:8].copy()), torch.zeros(1, dtype=torch.int64))
    assert batch.tokens.tolist() == tiny("wordpiece").sentences([whole(table, template, table.ids[7])])


@pytest.mark.parametrize("template", ["{user} alone", "{user} {item} {user}", "nothing"])
def test_a_template_has_both_sides_once(tiny, table, template):
    with pytest.raises(ValueError, match=r"has not \{user\} and \{item\} once each"):
        TemplateStore.build(table, tiny("wordpiece"), [template])


def test_a_tokenizer_that_merges_is_refused(table):
    rust = Tokenizer(models.BPE(vocab={"<unk>": 0, "[PAD]": 1, ".": 2, " ": 3, ". ": 4, "I": 5}, merges=[(".", " ")]))
    rust.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    with pytest.raises(UserError, match="merges across"):
        TemplateStore.build(table, wrap(rust, "joiner"), TEMPLATES)


def test_a_template_is_drawn_in_training_and_fixed_in_scoring(tiny, table):
    store = TemplateStore.build(table, tiny("unigram"), TEMPLATES)
    ids = torch.from_numpy(table.ids[:90].copy())
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(Templated(store, False).batch(ids, True))
    assert torch.equal(drawn[0].tokens, drawn[1].tokens)
    assert not torch.equal(drawn[0].lengths, drawn[2].lengths)
    per_template = [store.batch(ids, torch.full((90,), t)) for t in range(3)]
    used = [sum(int(drawn[0].lengths[r] == b.lengths[r]) for r in range(90)) for b in per_template]
    assert min(used) > 15
    fixed = Templated(store, False).batch(ids, False)
    assert torch.equal(fixed.tokens, per_template[0].tokens)
    assert torch.equal(Templated(store, False).lengths(ids), fixed.lengths)
    every = Templated(store, True).batch(ids, False)
    assert every.lengths.view(90, 3).t().tolist() == [b.lengths.tolist() for b in per_template]


@needs_plm
def test_t5s_own_tokenizer_keeps_the_parts_apart(table):
    from baselines.p5 import TEMPLATES as OWN

    tokenizer = from_folder(PLM / "t5-small", "t5-small")
    store = TemplateStore.build(table, tokenizer, OWN)
    assert store.slots.shape[0] == len(OWN)
