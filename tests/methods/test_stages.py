"""FLIP as a suite runs it: one pretraining shared, finetunings from it, any backbone, resumed and reported."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flipbench.errors import UserError
from flipbench.methods.flip.settings import FinetuneSettings, PretrainSettings
from flipbench.plan import expand as plan
from flipbench.plan import registry, suite

PRINTS = {"planted-tiny": "a" * 64, "movielens-1m": "b" * 64}
TINY = "{plm: small, max_epochs: 1, batch_size: 512, pretrain: {epochs: 1, batch_size: 512}}"


def stages(path):
    return plan.expand(suite.load(str(path)), PRINTS, lambda *_: None).stages()


def test_every_setting_is_declared_with_its_source_and_the_flavours_differ_by_switches():
    declared = registry.get("flip")
    own = {f"pretrain.{name}" for name in PretrainSettings.__dataclass_fields__} | set(
        FinetuneSettings.__dataclass_fields__
    )
    assert own | {"backbone", "plm", "flavour"} == set(declared.settings)
    assert declared.settings["pretrain.temperature"].value == 0.7
    released = plan.resolve(declared, {"flavour": "released"})
    paper = plan.resolve(declared, {})
    assert released["pretrain.icl_weight"] == 1 / 8
    assert {k for k in paper if paper[k] != released[k]} == {"flavour", *declared.flavours["released"]}
    with pytest.raises(UserError, match="unknown flavour 'relesed'; did you mean 'released'"):
        plan.resolve(declared, {"flavour": "relesed"})


def test_one_pretraining_serves_all_finetunings(suite_file):
    path = suite_file(
        settings="{plm: small}",
        methods="[flip, flip_id, flip_plm, slow: {method: flip, learning_rate: 1e-5}, other: {method: flip, pretrain: {temperature: 0.5}}]",  # noqa: E501
    )
    found = stages(path)
    pretrainings = [s for s in found if s.role == "pretrain"]
    assert len(pretrainings) == 2, "a temperature is another pretraining, a finetuning's learning rate is not"
    selects = [s for s in found if s.role == "select"]
    assert [s.parents["pretrain"].key == pretrainings[0].key for s in selects] == [True] * 4 + [False]


def test_the_tables_share_the_pretraining_of_table_2():
    def pretrainings(name, *only):
        chosen = plan.narrow(suite.load(name), only)
        return {s.key for s in plan.expand(chosen, PRINTS, lambda *_: None).stages() if s.role == "pretrain"}

    here = "dataset=movielens-1m"
    two = pretrainings("table2", "model=flip,flip_id,flip_plm", here)
    others = [pretrainings(name, here) for name in ("table3", "table5", "table7")]
    assert [len(two), *map(len, others)] == [10, 30, 30, 70]
    assert all(two < other for other in others)


def test_without_any_objective_there_is_no_pretraining(suite_file):
    methods = "[none: {method: flip, pretrain: {mlm: false, mtm: false, icl: false}}]"
    assert [s.role for s in stages(suite_file(settings="{plm: small}", methods=methods))] == [
        "select",
        "refit",
        "evaluate",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("{pretrain: {text_mask_ratio: 0}}", "text_mask_ratio: 0 is not above 0"),
        ("{pretrain: {table_mask_ratio: 1.5}}", "table_mask_ratio: 1.5 is not above 0 and at most 1"),
        ("{pretrain: {mtm_loss: ncee}}", "mtm_loss: unknown 'ncee'; did you mean 'nce'"),
        ("{backbone: dcnv3}", "unknown model 'dcnv3'; did you mean 'dcnv2'"),
        ("{plm: no/such/folder/here}", "PLM 'no/such/folder/here': no such folder"),
        ("{plm: roberta-base}", "a hub id needs a revision"),
    ],
)
def test_settings_that_make_no_sense_are_refused_when_planned(suite_file, settings, words):
    merged = settings if "plm" in settings else settings.replace("{", "{plm: small, ", 1)
    with pytest.raises(UserError, match=words):
        stages(suite_file(settings=merged, methods="[flip]"))


def run(path, *options):
    command = [sys.executable, "-m", "flipbench", "run", str(path), *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ)


def test_killed_in_its_pretraining_flip_ends_with_the_same_bits(suite_file, tmp_path):
    path = suite_file(settings=TINY.replace("epochs: 1", "epochs: 3"), methods="[flip_id]")
    for name, kill in (("calm", False), ("stormy", True)):
        if kill:
            with run(path, "--results", str(tmp_path / name)) as process:
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline and not list((tmp_path / name).glob(".work/*/checkpoint.pt")):
                    time.sleep(0.05)
                os.killpg(process.pid, signal.SIGKILL)
        process = run(path, "--results", str(tmp_path / name))
        _, stderr = process.communicate(timeout=240)
        assert process.returncode == 0, stderr
    weights = [
        json.loads(next((tmp_path / name).glob("planted-tiny/pretraining/*/metrics.json")).read_text())["weights"]
        for name in ("calm", "stormy")
    ]
    scores = [
        next((tmp_path / n).glob("planted-tiny/flip_id/evaluate-*/metrics.json")).read_text()
        for n in ("calm", "stormy")
    ]
    assert weights[0] == weights[1]
    assert scores[0] == scores[1]
