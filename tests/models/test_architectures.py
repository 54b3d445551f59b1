"""Every architecture of ``transformers`` that has a masked-language-model form: it works, or one line refuses it."""

from functools import cache

import pytest
import torch
from safetensors.torch import save_file
from tiny_plm import prompts, save_plm, small_config
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from flipbench.errors import UserError
from flipbench.models import encoder as plm
from flipbench.models.mlm_head import TokenHead, token_loss
from flipbench.models.pretrained import model_class
from flipbench.models.soft_prompt import SoftPrompts
from flipbench.plan import expand, registry
from flipbench.text.source import PREFIXABLE
from flipbench.text.tokens import TokenBatch

NO_ENCODER = "is not an encoder such as bert or roberta"
PADDING = "mixes the padding behind a sentence into its states"
REFUSED = {
    **dict.fromkeys(["bart", "mbart", "mvp"], NO_ENCODER),  # with a decoder
    **dict.fromkeys(["modernvbert", "perceiver", "ultravbert"], NO_ENCODER),  # of pictures and more
    **dict.fromkeys(["convbert", "fnet", "funnel", "nystromformer", "yoso"], PADDING),
    "ibert": "has no plain table of token embeddings",
    "mra": "does not let the tokens of a sentence read each other here",  # without its CUDA kernel
    "reformer": "cannot read a sentence: ValueError: If training, make sure that config.axial_pos_shape",
}
ONLY_TOKENS = {"esmc", "neomme"}
NARROW = {"albert", "electra", "mobilebert", "rembert"}
"""Those whose embeddings are narrower than their states."""

UNREAD = (
    *("pooler", "contact_head", "embed_positions", "patch_embeddings", "pronunciation", "shape_"),
    *("_global", "entity", "w2e", "e2w", "e2e"),  # Longformer's chosen tokens, LUKE's entities
)
"""Parts of names of weights that a sentence's states do not read."""

WORKING = [name for name in MODEL_FOR_MASKED_LM_MAPPING_NAMES if name not in REFUSED]
COUNT = 3


@pytest.fixture(scope="module")
def folder_of(tiny, tmp_path_factory):
    """Writes a small PLM of an architecture, its weights redrawn: checkpoints have no rows of zeros for padding."""
    tokenizer = tiny("wordpiece")

    def write(architecture):
        config, folder = small_config(architecture, tokenizer), tmp_path_factory.mktemp(architecture)
        if REFUSED.get(architecture) == NO_ENCODER:
            config.save_pretrained(folder)
            save_file({"none": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
            (folder / "tokenizer.json").write_text(tokenizer.rust.to_str(), encoding="utf-8")
            return str(folder)
        torch.manual_seed(0)
        model = model_class(config)(config)
        config.architectures = [type(model).__name__]
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        return str(save_plm(model, tokenizer, folder))

    return cache(write)


def states_of(encode, text):
    """Real tokens' states of a batch, and those that each row has when it is read alone."""
    together, alone, lengths = encode(text, slice(None)), [], text.lengths.tolist()
    for row, length in enumerate(lengths):
        part = slice(row, row + 1)
        single = TokenBatch(text.tokens[part, :length], text.lengths[part], text.field_of[part, :length])
        alone.append(encode(single, part)[0])
    return torch.cat([states[:n] for states, n in zip(together, lengths, strict=True)]), torch.cat(alone)


def assert_alike(together, alone):
    torch.testing.assert_close(together, alone, atol=5e-6 * float(alone.detach().abs().max()), rtol=1e-5)


@pytest.mark.parametrize("architecture", WORKING)
def test_padding_has_no_effect_and_gradients_flow(architecture, folder_of, table):
    encoder = plm.load(folder_of(architecture)).eval()
    assert (encoder.embedding_size < encoder.hidden_size) == (architecture in NARROW)
    text = prompts(table, encoder.name)
    with torch.inference_mode():
        together, alone = states_of(lambda batch, _: encoder(batch.tokens, batch.attention_mask), text)
        longest = torch.full((1, min(encoder.max_positions, 200)), 7)
        assert encoder(longest, torch.ones_like(longest)).isfinite().all()
    assert_alike(together, alone)
    head = TokenHead(encoder)
    states = encoder.train().states(text, torch.arange(text.tokens.numel())[text.attention_mask.flatten()])
    logits = head(states, encoder.token_embedding.weight)
    targets, rows = text.tokens[text.attention_mask], text.attention_mask.nonzero()[:, 0]
    token_loss(logits, targets, rows, len(text.tokens), per_sample=True).backward()
    parts = [*encoder.named_parameters(), *head.named_parameters()]
    still = [name for name, p in parts if p.grad is None or not (p.grad.isfinite().all() and p.grad.any())]
    assert not [name for name in still if not any(part in name for part in UNREAD)]


@pytest.mark.parametrize("form", ["prompt", "prefix"])
@pytest.mark.parametrize("architecture", WORKING)
def test_soft_prompts_are_read_or_refused(architecture, form, folder_of, table):
    encoder = plm.load(folder_of(architecture), dropout=0.0).eval()
    if architecture in ONLY_TOKENS or (form == "prefix" and architecture not in PREFIXABLE):
        said = "takes no soft prompts, only tokens" if architecture in ONLY_TOKENS else "takes no prefix; form: prompt"
        with pytest.raises(UserError, match=f"'{architecture}' {said}"):
            SoftPrompts(encoder, 6, COUNT, form)
        return
    text, soft = prompts(table, encoder.name, rows=5), SoftPrompts(encoder, 6, COUNT, form)
    c = torch.randn(5, 6, requires_grad=True)
    together, alone = states_of(lambda batch, rows: soft.states(encoder, batch, c[rows])[-1], text)
    assert_alike(together, alone)
    gradient = torch.autograd.grad(together.square().sum(), c)[0]
    assert gradient.abs().amax(1).min() > 0, "every row reads its own"
    other, _ = states_of(lambda batch, rows: soft.states(encoder, batch, c[rows] + 1.0)[-1], text)
    assert (other - together).abs().max() > 1e-3 * together.abs().max()


@pytest.mark.parametrize("architecture", REFUSED)
def test_what_does_not_work_is_refused_by_name(architecture, folder_of):
    folder = folder_of(architecture)
    with pytest.raises(UserError) as error:
        plm.load(folder)
    assert str(error.value).startswith(f"PLM '{folder}': '{architecture}' {REFUSED[architecture]}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("architecture", ["albert", "electra", "mobilebert"])
@pytest.mark.parametrize("method", ["clickprompt", "clickprompt_id"])
def test_a_prefix_that_a_local_plm_cannot_take_is_refused_when_planned(architecture, method, folder_of):
    folder, declared = folder_of(architecture), registry.get(method)
    assert expand.resolve(declared, {"plm": folder, "pretrain.form": "prompt"})["plm"] == folder
    if architecture == "electra":
        assert expand.resolve(declared, {"plm": folder})["plm"] == folder
        return
    said = rf"pretrain\.form: 'prefix' does not work with PLM '\S+': '{architecture}' takes none; nearest: prompt"
    with pytest.raises(UserError, match=said):
        expand.resolve(declared, {"plm": folder})
