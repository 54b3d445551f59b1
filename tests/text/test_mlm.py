"""The masked-language-model head and BERT's corruption, against ``transformers`` and against the rule."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_text import make_tokenizer

from flipbench.data.table import Table
from flipbench.methods.flip.masking import corrupt_tokens
from flipbench.models import encoder as plm
from flipbench.models.mlm_head import token_head
from flipbench.text.tokens import TokenStore

PLM = os.environ.get("FLIPBENCH_PLM", "")
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def with_head(kind: str, folder: Path) -> Any:
    """A tiny model with its head as ``transformers`` saves it; none of its parameters at its start."""
    import transformers

    made = make_tokenizer("byte-level" if kind == "roberta" else "wordpiece")
    (folder / "tokenizer.json").write_text(made.rust.to_str(), encoding="utf-8")
    if kind == "bert":
        own = {"vocab_size": made.vocab_size, "max_position_embeddings": 80, "pad_token_id": 0}
        model: Any = transformers.BertForMaskedLM(transformers.BertConfig(**own, **SHAPE))
    else:
        own = {"vocab_size": made.vocab_size, "max_position_embeddings": 80, "pad_token_id": 1}
        model = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**own, **SHAPE))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.config.save_pretrained(folder)
    save_file({n: t.clone() for n, t in model.state_dict().items()}, folder / "model.safetensors", {"format": "pt"})
    return model.eval()


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_checkpoints_own_head_gives_its_logits(kind: str, tmp_path: Path, table: Table) -> None:
    torch.manual_seed(0)
    reference = with_head(kind, tmp_path)
    encoder = plm.load(str(tmp_path)).eval()
    text = TokenStore.build(table, plm.load_tokenizer(str(tmp_path))).batch(torch.from_numpy(table.ids[:4].copy()))
    head = token_head(str(tmp_path), encoder)
    with torch.inference_mode():
        states = encoder(text.tokens, text.attention_mask)[text.attention_mask]
        ours = head(states, encoder.token_embedding.weight)
        theirs = reference(text.tokens, attention_mask=text.attention_mask.long()).logits[text.attention_mask]
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_a_checkpoint_without_a_head_gets_a_fresh_one_by_the_seed(folders: Any, table: Table) -> None:
    for spec in (str(folders("distilbert")), str(folders("roberta", "byte-level")), "small"):
        encoder = plm.load(spec, table=table)
        heads = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            heads.append(token_head(spec, encoder))
        assert torch.equal(heads[0].dense.weight, heads[1].dense.weight)
        assert not torch.equal(heads[0].dense.weight, heads[2].dense.weight)
        assert heads[0].bias.abs().sum() == 0


@pytest.mark.skipif(not PLM, reason="FLIPBENCH_PLM names no folder of PLMs")
def test_minilm_has_no_head(table: Table) -> None:
    spec = str(Path(PLM, "all-MiniLM-L6-v2"))
    head = token_head(spec, plm.load(spec))
    assert head.bias.shape == (30522,)
    assert head.bias.abs().sum() == 0


def test_corruption_is_fifteen_percent_of_the_words_in_eight_one_one(table: Table) -> None:
    store = TokenStore.build(table, make_tokenizer("wordpiece"))
    text = store.batch(torch.from_numpy(table.ids.repeat(200, 0)))
    keys = torch.rand(*text.tokens.shape, 3, generator=torch.Generator().manual_seed(0))
    mask = corrupt_tokens(text, keys, 0.15, store)
    flat, targets = mask.tokens.flatten(), text.tokens.flatten()
    special = torch.tensor([store.cls_id, store.sep_id, store.pad_id])
    assert not torch.isin(targets[mask.positions], special).any()
    assert torch.equal(targets[mask.positions], mask.targets)
    rest = torch.ones(len(flat), dtype=torch.bool)
    rest[mask.positions] = False
    assert torch.equal(flat[rest], targets[rest])
    words = int((~torch.isin(targets, special)).sum())
    assert len(mask.positions) / words == pytest.approx(0.15, abs=3e-3)
    said = flat[mask.positions]
    masked, kept = said == store.mask_id, said == mask.targets
    assert masked.float().mean() == pytest.approx(0.8, abs=0.01)
    assert kept.float().mean() == pytest.approx(0.1, abs=0.01)
    random = said[~masked & ~kept]
    assert random.unique().numel() > 0.95 * store.vocab_size - 2  # any token of the vocabulary
    wider = torch.cat([keys, torch.rand(len(keys), 5, 3)], dim=1)  # drawn for a larger batch
    assert torch.equal(corrupt_tokens(text, wider, 0.15, store).tokens, mask.tokens)
