"""ClickPrompt: what it is pretrained on, how it mixes, and what it needs without the PLM."""

import shutil
from dataclasses import replace

import pytest
import torch
from tiny_plm import save_plm
from torch import nn
from torch.nn.functional import cross_entropy

from baselines.clickprompt import PAMLM
from flipbench.errors import UserError
from flipbench.methods.context import MethodContext
from flipbench.models import encoder as plm
from flipbench.models.prompted import PromptedClicks
from flipbench.run.stages import run_stage
from flipbench.run.tasks import fit_task
from flipbench.text.source import fingerprint
from flipbench.train.config import TrainConfig
from flipbench.train.pretrain import adamw
from flipbench.train.weights import saved_weights

ROWS = 200


def chain(lab, method="clickprompt", **changes):
    """A method's stages by role, with three prompts."""
    return {stage.role: stage for stage in lab.chain(method, **{"pretrain.prompts": 3, **changes})}


@pytest.fixture
def context(lab, table):
    return MethodContext(chain(lab)["pretrain"], table)


@pytest.fixture
def ids(table):
    return torch.from_numpy(table.ids[:16].copy())


@pytest.fixture
def build(context, ids):
    """``build(form)``: the pretraining's model; its ID-based model, unlike a fresh one, varies by row."""

    def build(form="prefix"):
        torch.manual_seed(0)
        model = PAMLM.model(context, ids, form=form, prompts=3, mask_ratio=0.15)
        for tables in model.id_model.embedding_tables():
            nn.init.normal_(tables, std=0.5)
        return model.eval()

    return build


@pytest.mark.parametrize("form", ["prefix", "prompt"])
def test_loss_of_hidden_tokens_alone(context, build, ids, form):
    model = build(form)
    batch = PAMLM.make_batch(context, ids, form=form, prompts=3, mask_ratio=0.15)(ids, 0, 0, slice(None))
    loss = model(batch.ids, batch.text, batch.mask)["mlm"]
    masked_text, c = replace(batch.text, tokens=batch.mask.tokens), model.id_model.represent(batch.ids)
    states = model.prompts.states(model.encoder, masked_text, c)[-1]
    logits = model.head(states, model.encoder.token_embedding.weight)
    targets = torch.full_like(batch.text.tokens, -100).flatten()
    targets[batch.mask.positions] = batch.mask.targets
    torch.testing.assert_close(loss, cross_entropy(logits.flatten(0, 1), targets, ignore_index=-100))
    loss.backward()
    for name in ("id_model.embed.weight", "prompts.layers.weight" if form == "prompt" else "prompts.layers.0.weight"):
        assert model.get_parameter(name).grad.any(), name
    assert model.id_model.head.weight.grad is None, "the logit is no part of it"


def test_the_two_logits_are_mixed_as_the_fusion_says(context, build, ids):
    text = context.tokens.batch(ids)

    def logits(fusion, alpha=0.5):
        pretrained = build()
        torch.manual_seed(1)
        model = PromptedClicks(pretrained.id_model, pretrained.encoder, pretrained.prompts, fusion=fusion).eval()
        if model.alpha is not None:
            assert model.alpha.item() == 0.5
            model.alpha.data.fill_(alpha)
        with torch.inference_mode():
            return model(ids, text)

    s_plm = logits("plm")
    s_id = logits("add") - s_plm
    with torch.inference_mode():
        torch.testing.assert_close(s_id, build().id_model(ids), atol=1e-5, rtol=1e-5)
    for alpha in (0.0, 0.3, 1.0):
        torch.testing.assert_close(logits("weighted", alpha), alpha * s_plm + (1 - alpha) * s_id, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("id_rate", [1e-2, 0.0])
def test_pretraining_moves_the_id_based_model_at_a_rate_of_its_own(context, build, ids, id_rate):
    """Adam's first step is the rate, whatever the gradient."""
    model = build("prompt")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = adamw(model, TrainConfig(1e-4, batch_size=16, max_epochs=1, id_learning_rate=id_rate))
    batch = PAMLM.make_batch(context, ids, form="prompt", prompts=3, mask_ratio=0.15)(ids, 0, 0, slice(None))
    model(batch.ids, batch.text, batch.mask)["mlm"].backward()
    optimizer.step()
    moved = {name: (p - before[name]).abs().max().item() for name, p in model.named_parameters() if p.grad is not None}
    of_id = {name for name in moved if name.startswith(("id_model.", "prompts."))}
    others = {name for name in moved.keys() - of_id if "key.bias" not in name}  # a key's bias has no gradient
    assert len(of_id) > 5
    assert len(others) > 5
    for names, rate in ((of_id, id_rate or 1e-4), (others, 1e-4)):
        assert [moved[name] for name in names] == pytest.approx([rate] * len(names), rel=0.02)
    assert optimizer.param_groups[0]["lr"] == 1e-4, "the rate that is reported"


def test_both_finetunings_start_from_one_pretraining(lab):
    key = chain(lab)["pretrain"].key
    assert chain(lab, "clickprompt_id")["pretrain"].key == chain(lab, pooling="avg")["pretrain"].key == key
    assert chain(lab, **{"pretrain.form": "prompt"})["pretrain"].key != key


@pytest.mark.parametrize("form", ["prefix", "prompt"])
def test_finetuning_starts_from_the_pretrained_parts(lab, table, form):
    stages = chain(lab, **{"pretrain.form": form, "pooling": "avg_top2"})
    run_stage(stages["pretrain"], lab.store, "cpu", 1)
    pretrained = saved_weights(lab.store, stages["pretrain"])
    start = fit_task(stages["select"], table, lab.store, "cpu").build().state_dict()
    shared = [name for name in start if name.partition(".")[0] in ("id_model", "encoder", "prompts")]
    assert {name.partition(".")[0] for name in shared} == {"id_model", "encoder", "prompts"}
    assert all(torch.equal(start[name], pretrained[name]) for name in shared)
    # a stage that scores learns the form without its pretraining's weights
    assert fit_task(stages["evaluate"], table, lab.store, "cpu").build().state_dict().keys() == start.keys()


def test_without_the_plm_scoring_reads_no_weight_of_it(lab, table, tmp_path):
    """A PLM's folder is pinned by its content, used to pretrain, and then removed."""
    folder = tmp_path / "plm"
    folder.mkdir()
    save_plm(plm.load("small", table=table).model, plm.load_tokenizer("small", table), folder)
    spec = f"{folder}#{fingerprint(str(folder))}"
    stages = chain(lab, "clickprompt_id", plm=spec)
    run_stage(stages["pretrain"], lab.store, "cpu", 1)
    shutil.rmtree(folder)
    for role in ("select", "refit", "evaluate"):
        run_stage(stages[role], lab.store, "cpu", 1)
    assert {name.partition(".")[0] for name in saved_weights(lab.store, stages["refit"])} == {"id_model"}
    with pytest.raises(UserError, match=r"no such folder|holds no"):
        run_stage(chain(lab, plm=spec)["select"], lab.store, "cpu", 1)


def test_a_plm_too_short_for_prompts_and_text_is_refused(context, ids):
    with pytest.raises(UserError, match="of 16 rows have more than the 2 tokens"):
        PAMLM.model(context, ids, form="prompt", prompts=510, mask_ratio=0.15)
