"""The masked-language-model head, against ``transformers``."""

import pytest
import torch
from tiny_plm import PLM, needs_plm, prompts, save_plm

from flipbench.models import encoder as plm
from flipbench.models.mlm_head import token_head


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_checkpoints_own_head_gives_its_logits(kind, folders, table, tmp_path):
    """None of its parameters is at its start."""
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    start = str(folders(kind))
    reference = AutoModelForMaskedLM.from_pretrained(start).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    spec = str(save_plm(reference, plm.load_tokenizer(start), tmp_path))
    encoder, text = plm.load(spec).eval(), prompts(table, spec)
    with torch.inference_mode():
        states = encoder(text.tokens, text.attention_mask)[text.attention_mask]
        logits = token_head(spec, encoder)(states, encoder.token_embedding.weight)
        theirs = reference(text.tokens, attention_mask=text.attention_mask.long()).logits[text.attention_mask]
    torch.testing.assert_close(logits, theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["distilbert", "roberta", "small"])
def test_missing_head_is_fresh(kind, folders, table):
    spec = kind if kind == "small" else str(folders(kind))
    encoder = plm.load(spec, table=table)
    heads = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        heads.append(token_head(spec, encoder))
    assert torch.equal(heads[0].dense.weight, heads[1].dense.weight)
    assert not torch.equal(heads[0].dense.weight, heads[2].dense.weight)
    assert not heads[0].bias.any()


@needs_plm
def test_minilm_has_no_head():
    spec = str(PLM / "all-MiniLM-L6-v2")
    head = token_head(spec, plm.load(spec))
    assert head.bias.shape == (30522,)
    assert not head.bias.any()
