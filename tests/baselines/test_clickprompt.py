"""ClickPrompt: what it is pretrained on, how it mixes, and what it needs without the PLM; see also the contract of all
such methods."""

import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from flipbench.run.plm_tasks import PLMTask
from tiny_clicks import Lab, make_table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from baselines.clickprompt import PAMLM, PromptedMLM
from flipbench.errors import UserError
from flipbench.methods.context import Parts
from flipbench.models import encoder as plm
from flipbench.models.prompted import PromptedClicks
from flipbench.models.soft_prompt import SoftPrompts
from flipbench.plan import expand as plan
from flipbench.plan import registry
from flipbench.run.stages import run_stage
from flipbench.run.tasks import saved_weights
from flipbench.text.source import fingerprint


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("clicks"), rows=200)


@pytest.fixture
def lab(tmp_path, table, monkeypatch):
    return Lab(tmp_path / "results", table, monkeypatch)


def chain(lab, method="clickprompt", **changes):
    """A method's stages by role, with three prompts."""
    return {stage.role: stage for stage in lab.chain(method, **{"pretrain.prompts": 3, "max_epochs": 1, **changes})}


@pytest.fixture
def parts(lab, table):
    return Parts(chain(lab)["pretrain"], table)


def masked(parts, table, rows=16):
    ids = torch.from_numpy(table.ids[:rows].copy())
    batch: Any = PAMLM.draw(parts, form="prefix", prompts=3, mask_ratio=0.15)(ids, 0, 0, slice(None))
    return batch


def prompted(parts, form, seed=0):
    torch.manual_seed(seed)
    ids = torch.from_numpy(parts.table.ids[:16].copy())
    model = PAMLM.model(parts, ids, form=form, prompts=3, mask_ratio=0.15)
    assert isinstance(model, PromptedMLM)
    for tables in model.id_model.embedding_tables():  # a fresh model's representation hardly varies
        nn.init.normal_(tables, std=0.5)
    return model


def clicks(parts, fusion="weighted"):
    first = prompted(parts, "prefix")
    return PromptedClicks(first.id_model, first.encoder, first.prompts, fusion=fusion)


@pytest.mark.parametrize("form", ["prefix", "prompt"])
def test_the_loss_is_of_the_hidden_tokens_alone_and_reaches_the_ids(parts, table, form):
    model = prompted(parts, form).eval()
    batch = masked(parts, table)
    loss = model(batch.ids, batch.text, batch.mask)["mlm"]
    states = model.prompts.states(
        model.encoder, replace(batch.text, tokens=batch.mask.tokens), model.id_model.represent(batch.ids)
    )[-1]
    logits = model.head(states, model.encoder.token_embedding.weight)
    targets = torch.full_like(batch.text.tokens, -100).flatten()
    targets[batch.mask.positions] = batch.mask.targets
    torch.testing.assert_close(loss, cross_entropy(logits.flatten(0, 1), targets, ignore_index=-100))
    loss.backward()
    for name in ("id_model.embed.weight", "prompts.layers.weight" if form == "prompt" else "prompts.layers.0.weight"):
        assert model.get_parameter(name).grad.abs().sum() > 0, name  # type: ignore[union-attr]
    assert model.id_model.head.weight.grad is None  # the logit is no part of it


def test_the_two_logits_are_mixed_as_the_fusion_says(parts, table):
    ids = torch.from_numpy(table.ids[:8].copy()).long()
    text = parts.tokens.batch(ids)

    def logits(fusion, alpha=0.5):
        model = clicks(parts, fusion).eval()
        if model.alpha is not None:
            assert model.alpha.item() == 0.5
            model.alpha.data.fill_(alpha)
        with torch.inference_mode():
            found: Tensor = model(ids, text)
        return found

    s_plm = logits("plm")
    s_id = logits("add") - s_plm
    with torch.inference_mode():
        torch.testing.assert_close(s_id, clicks(parts).id_model.eval()(ids), atol=1e-5, rtol=1e-5)
    for alpha in (0.0, 0.3, 1.0):
        torch.testing.assert_close(logits("weighted", alpha), alpha * s_plm + (1 - alpha) * s_id, atol=1e-5, rtol=1e-5)


def test_both_finetunings_start_from_one_pretraining(lab):
    first, second = chain(lab), chain(lab, "clickprompt_id")
    assert first["pretrain"].key == second["pretrain"].key
    assert chain(lab, **{"pretrain.form": "prompt"})["pretrain"].key != first["pretrain"].key
    assert chain(lab, pooling="avg")["pretrain"].key == first["pretrain"].key


@pytest.mark.parametrize("form", ["prefix", "prompt"])
def test_finetuning_starts_from_the_pretrained_parts(lab, table, form):
    stages = chain(lab, **{"pretrain.form": form, "pooling": "avg_top2"})
    run_stage(stages["pretrain"], lab.store, "cpu", 1)
    saved = saved_weights(lab.store, stages["pretrain"])
    own = PLMTask(stages["select"], table, lab.store, "cpu").build().state_dict()
    shared = [name for name in own if name.partition(".")[0] in ("id_model", "encoder", "prompts")]
    assert {name.partition(".")[0] for name in shared} == {"id_model", "encoder", "prompts"}
    assert all(torch.equal(own[name], saved[name]) for name in shared)
    # a stage that scores finds the form without its pretraining's weights
    assert PLMTask(stages["evaluate"], table, lab.store, "cpu").build().state_dict().keys() == own.keys()


def test_without_the_plm_scoring_reads_no_weight_of_it(lab, table, tmp_path):
    """A PLM's folder is pinned by its content, used to pretrain, and then removed."""
    folder = tmp_path / "plm"
    encoder: Any = plm.load("small", table=table)
    encoder.model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(plm.load_tokenizer("small", table).rust.to_str(), encoding="utf-8")
    spec = f"{folder}#{fingerprint(str(folder))}"
    stages = chain(lab, "clickprompt_id", plm=spec)
    run_stage(stages["pretrain"], lab.store, "cpu", 1)
    shutil.rmtree(folder)
    for role in ("select", "refit", "evaluate"):
        run_stage(stages[role], lab.store, "cpu", 1)
    weights = saved_weights(lab.store, stages["refit"])
    assert weights
    assert all(name.startswith("id_model.") for name in weights)
    with pytest.raises(UserError, match=r"no such folder|holds no"):
        run_stage(chain(lab, plm=spec)["select"], lab.store, "cpu", 1)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("clickprompt", {"pretrain.form": "prefx"}, "pretrain.form: unknown 'prefx'; did you mean 'prefix'"),
        ("clickprompt", {"pooling": "mean"}, "pooling: unknown 'mean'"),
        ("clickprompt", {"fusion": "weighed"}, "did you mean 'weighted'"),
        ("clickprompt", {"pretrain.prompts": 0}, "pretrain.prompts: 0 is not between"),
        ("clickprompt_id", {"pooling": "cls"}, "unknown setting 'pooling'"),
    ],
)
def test_settings_that_make_no_sense_are_named(name, settings, words):
    with pytest.raises(UserError, match=words):
        plan.resolve(registry.get(name), settings)


def test_a_plm_too_short_for_prompts_and_text_is_refused(parts, table):
    ids = torch.from_numpy(table.ids[:16].copy())
    with pytest.raises(UserError, match="of 16 rows have more than the 2 tokens"):
        PAMLM.model(parts, ids, form="prompt", prompts=510, mask_ratio=0.15)


@pytest.mark.parametrize("name", ["ClickPrompt", "ClickPromptID", "PAMLM"])
def test_declarations_are_read_without_importing(name):
    target = f"baselines.clickprompt:{name}"
    assert registry._from_source(target) == registry._from_class(target)


def test_prompts_differ_by_row_and_form(parts):
    encoder = parts.encoder()
    c = torch.randn(2, 5)
    for form, shape in (("prompt", (2, 3, 64)), ("prefix", (2, 3, 2, 2, 2, 32))):
        made = SoftPrompts(encoder, 5, 3, form)(c)  # type: ignore[arg-type]
        assert made.shape == shape
        assert (made[0] - made[1]).abs().max() > 1e-3
