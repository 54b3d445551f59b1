"""Encoders: what is loaded, what is refused, and that padding and attention form do not matter."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_plm import PLM, needs_plm, prompts
from torch import nn

from flipbench.data.store import open_table
from flipbench.errors import UserError
from flipbench.models import encoder as plm
from flipbench.text.tokens import TokenStore
from flipbench.train.weights import weights_sha256


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_neither_padding_nor_the_form_of_attention_matters(kind, folders, table):
    folder = str(folders(kind))
    batch = prompts(table, folder)
    states = {}
    for attention in ("sdpa", "eager"):
        encoder = plm.load(folder, attention=attention).eval()
        assert encoder.model.config._attn_implementation == attention
        with torch.inference_mode():
            together = encoder(batch.tokens, batch.attention_mask)
            assert together.shape == (*batch.tokens.shape, encoder.hidden_size)
            for row, length in enumerate(batch.lengths.tolist()):
                alone = encoder(batch.tokens[row : row + 1, :length], torch.ones(1, length))
                torch.testing.assert_close(together[row, :length], alone[0], atol=2e-6, rtol=1e-5)
        states[attention] = together[batch.attention_mask]
    torch.testing.assert_close(states["sdpa"], states["eager"], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("half", [False, True])
def test_the_checkpoints_weights_are_the_encoders(half, folders):
    folder = folders(half=half)
    encoder = plm.load(str(folder))
    saved = load_file(folder / "model.safetensors")
    loaded = encoder.model.state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in loaded.values() if tensor.is_floating_point())
    assert {f"bert.{name}" for name in loaded} == {name for name in saved if name.startswith("bert.")}
    assert all(torch.equal(tensor, saved[f"bert.{name}"].float()) for name, tensor in loaded.items())
    assert not any("pooler" in name for name in loaded)
    assert (encoder.hidden_size, encoder.vocab_size) == (32, len(saved["bert.embeddings.word_embeddings.weight"]))
    assert encoder.training
    assert all(p.requires_grad for p in encoder.parameters())


def test_an_older_checkpoint_is_read_as_tensors_alone(folders, tmp_path):
    new, old = folders(), tmp_path / "old"
    shutil.copytree(new, old)
    torch.save(load_file(old / "model.safetensors"), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    one, two = (weights_sha256(plm.load(str(folder)).state_dict()) for folder in (new, old))
    assert one == two

    class Attack:
        def __reduce__(self):
            return (tmp_path.joinpath("owned").write_text, ("x",))

    torch.save({"embeddings.word_embeddings.weight": Attack()}, old / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        plm.load(str(old))
    assert not (tmp_path / "owned").exists()


def test_positions_are_counted_as_the_model_counts_them(folders):
    for kind, limit in (("bert", 80), ("roberta", 64)):
        encoder = plm.load(str(folders(kind))).eval()
        assert encoder.max_positions == limit
        encoder(torch.full((1, limit), 7), torch.ones(1, limit))
        with pytest.raises((IndexError, RuntimeError)):
            encoder(torch.full((1, limit + 1), 7), torch.ones(1, limit + 1))


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_dropout_can_be_set(kind, attention, folders, table):
    folder = str(folders(kind))
    batch = prompts(table, folder)
    inputs = batch.tokens, batch.attention_mask
    kept, off = plm.load(folder, attention=attention), plm.load(folder, attention=attention, dropout=0.0)
    assert {m.p for m in kept.modules() if isinstance(m, nn.Dropout)} == {0.1}
    assert not torch.equal(kept(*inputs), kept(*inputs))
    assert torch.equal(off(*inputs), off(*inputs))
    torch.testing.assert_close(off(*inputs), off.eval()(*inputs))


def test_small_is_the_same_in_every_process():
    code = (
        "from flipbench.data.store import open_table; from flipbench.models import encoder as plm\n"
        "from flipbench.train.weights import weights_sha256\n"
        "t = open_table('planted-tiny')\n"
        "print(weights_sha256(plm.load('small', table=t, seed=3).state_dict()))\n"
        "print(plm.load_tokenizer('small', t).rust.to_str())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    planted = open_table("planted-tiny")
    torch.rand(7)  # its own seed alone counts
    three, four = (weights_sha256(plm.load("small", table=planted, seed=seed).state_dict()) for seed in (3, 4))
    assert done.stderr == ""
    assert done.stdout == f"{three}\n{plm.load_tokenizer('small', planted).rust.to_str()}\n"
    assert three != four


def test_small_knows_every_word_of_its_table(table):
    tokenizer = plm.load_tokenizer("small", table)
    assert not (TokenStore.build(table, tokenizer).tokens == tokenizer.rust.token_to_id("[UNK]")).any()
    assert tokenizer.rust.encode("user id is 1193.").tokens == ["[CLS]", "user", "id", "is", "11", "##93", ".", "[SEP]"]
    encoder = plm.load("small", table=table)
    assert encoder.vocab_size == tokenizer.vocab_size < 1000
    batch = prompts(table, "small")
    assert encoder(batch.tokens, batch.attention_mask).isfinite().all()


def test_loading_disturbs_neither_random_numbers_nor_output(folders, table, capfd):
    folder = str(folders())
    from transformers.utils import logging

    before, state = (logging.get_verbosity(), logging.is_progress_bar_enabled()), torch.get_rng_state()
    capfd.readouterr()
    plm.load(folder)
    plm.load("small", table=table)
    assert torch.equal(torch.get_rng_state(), state)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def refused(folder, said):
    with pytest.raises(UserError, match=said) as error:
        plm.load(str(folder))
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", None, "holds no config.json"),
        ("model.safetensors", None, "holds no weights"),
        ("tokenizer.json", None, "holds no tokenizer"),
        ("config.json", b"{", "cannot be loaded"),
        ("config.json", b'{"model_type": "none-such"}', "cannot be loaded"),
        ("model.safetensors", b"not weights at all", "cannot be loaded"),
        ("tokenizer.json", b"[]", "tokenizer.json: cannot be read"),
        ("tokenizer_config.json", b"{", "tokenizer_config.json: is not a JSON object"),
        ("special_tokens_map.json", b"[]", "special_tokens_map.json: is not a JSON object"),
    ],
)
def test_a_folder_with_a_missing_or_damaged_part(file, content, said, folders):
    folder = folders()
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    refused(folder, said)


def test_weights_cut_short_or_of_another_shape(folders):
    folder = folders()
    weights = folder / "model.safetensors"
    saved = load_file(weights)
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    refused(folder, "cannot be loaded")
    fewer = {name: tensor for name, tensor in saved.items() if "layer.1.output.dense" not in name}
    save_file(fewer, weights, metadata={"format": "pt"})
    refused(folder, r"its weights lack 2 tensors, 'encoder\.layer\.1\.output\.dense\.bias' among them")
    weights.write_bytes(whole)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    refused(folder, r"'\S+' is \[48\] in its weights, \[64\] by its config.json")


def test_what_is_no_encoder_or_has_the_tokenizer_of_another(folders):
    refused(folders(vocab_size=60), r"its tokenizer has \d+ tokens, its embedding 60 rows")
    refused(folders(tokenizer="unigram"), "has no cls token")
    refused(folders("t5", "unigram"), "'t5' is not an encoder")
    refused(folders("gpt2", "byte-level"), "'gpt2' is not an encoder")


def test_an_older_folder_with_vocab_txt_alone(folders, tiny):
    folder, new = folders(), tiny("wordpiece")
    (folder / "tokenizer.json").unlink()
    vocabulary = new.rust.get_vocab()
    (folder / "vocab.txt").write_text("".join(f"{t}\n" for t in sorted(vocabulary, key=vocabulary.get)), "utf-8")
    old = plm.load_tokenizer(str(folder))
    texts = ["Oh, God! (1977)", "Léon: Ünïcode", "[MASK] is text"]
    assert old.sentences(texts) == new.sentences(texts)
    assert (old.cls_id, old.sep_id, old.mask_id, old.pad_id) == (new.cls_id, new.sep_id, new.mask_id, new.pad_id)
    plm.load(str(folder))


@needs_plm
def test_the_real_minilm_tells_films_apart():
    folder = str(PLM / "all-MiniLM-L6-v2")
    encoder, tokenizer = plm.load(folder).eval(), plm.load_tokenizer(folder)
    assert (encoder.hidden_size, encoder.vocab_size, encoder.max_positions) == (384, 30522, 512)
    texts = ["title is Star Wars (1977).", "title is Return of the Jedi (1983).", "title is The Piano (1993)."]
    with torch.inference_mode():
        means = [encoder(torch.tensor([t]), torch.ones(1, len(t))).mean(1) for t in tokenizer.sentences(texts)]
    near = torch.cosine_similarity(means[0], means[1])
    assert near > torch.cosine_similarity(means[0], means[2]) + 0.1
