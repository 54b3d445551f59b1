"""Methods by name: those that come with flipbench, and a user's own."""

import inspect
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from flipbench.errors import UserError
from flipbench.methods.flip import settings as flip_settings
from flipbench.plan import expand, registry, suite
from flipbench.plan.settings import PRETRAIN, Paper, check_value, flatten, nest
from flipbench.train.config import TrainConfig

LITERAL = '''
from flipbench.plan.settings import AtLeast, Guess
from flipbench.models.id_model import IDModel


class LogisticRegression(IDModel):
    """The first-order term alone (a user's own model)."""

    version = 3
    settings = {"unused": Guess(1, "to have one")}
    grid = {}
    rules = [AtLeast("unused", 1, "for a test")]

    def __init__(self, features, fields, *, unused):
        super().__init__(features, fields, 1, representation_dim=1)

    def represent(self, ids):
        return self.first_order(ids).unsqueeze(1)
'''
COMPUTED = LITERAL.replace('settings = {"unused": Guess(1, "to have one")}', "settings = dict(unused=Guess(1, ''))")
COMMAND = """
import sys
from flipbench.cli import main
codes = [main(line.split()) for line in sys.stdin]
print(codes, "torch" in sys.modules)
"""


@pytest.fixture
def flipbench(tmp_path):
    """``flipbench(text, *commands)``: a process that has a user's package, as installers leave it."""

    def run(text, *commands):
        info = tmp_path / "site" / "mymodels-1.0.dist-info"
        info.mkdir(parents=True)
        (tmp_path / "site" / "mymodels.py").write_text(text)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mymodels\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[flipbench.id_models]\nmy_lr = mymodels:LogisticRegression\n")
        path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, "-c", COMMAND], input="\n".join(commands), capture_output=True, text=True, timeout=120,
            env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip

    return run


def test_a_users_own_model_is_listed_run_and_reported(flipbench, suite_file):
    path = suite_file(methods="[my_lr]")
    done = flipbench(COMPUTED, "list models", f"run {path}", f"report {path}")
    assert done.stdout.endswith("[0, 0, 0] True\n"), done.stderr
    assert "The first-order term alone" in done.stdout
    assert "1 of 1 runs done" in done.stdout + done.stderr
    assert "my_lr" in (path.parent / "reports" / "mini.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [LITERAL, COMPUTED], ids=["literal", "computed"])
def test_a_users_own_rule_is_known_when_planned(flipbench, suite_file, text):
    path = suite_file(methods="[my_lr: {unused: 0}]")
    done = flipbench(text, f"plan {path}")
    assert done.stderr.endswith(f"{path}: my_lr: unused: 0 is below 1: for a test; nearest: 1\n")
    assert done.stdout == f"[1] {text == COMPUTED}\n", "only computed declarations need an import"


def test_an_unknown_model_and_one_that_cannot_be_loaded(monkeypatch):
    with pytest.raises(UserError, match="unknown model 'DeepFM'; did you mean 'deepfm'"):
        registry.get("DeepFM")
    monkeypatch.setattr(registry, "_methods", lambda kind: {"gone": ("id", "no_such_module:X")})
    with pytest.raises(UserError, match=r"model 'gone' \(no_such_module:X\) cannot be loaded: no module"):
        registry.get.__wrapped__("gone")


@pytest.mark.parametrize("name", registry.names())
def test_settings_have_sources_and_go_together(name):
    declared = registry.get(name)
    settings, grid = flatten(declared.settings), flatten(declared.grid)
    assert all(setting.source in ("paper", "code", "guess") and setting.where for setting in settings.values())
    assert ("embedding_l2" in declared.guesses) == ("embedding_l2" in settings), "neither says it"
    assert not declared.problem(nest({name: setting.value for name, setting in settings.items()}))
    assert grid.keys() <= settings.keys()
    for name, setting in settings.items():
        for value in [setting.value, *grid.get(name, [])]:
            assert check_value(name, value, setting) == value
    if declared.kind in ("id", "hybrid"):
        assert {"learning_rate", "embedding_l2"} <= grid.keys(), "the same L2 range for all that have tables"


def defaults_in_code(declared, name):
    """What a setting is where a specification leaves it out, by all that trains or builds the method."""
    training = {f.name: f.default for f in fields(TrainConfig)} | {"oov": "random"}  # see fresh_id_model
    if name in training:
        return [training[name]]
    cls = declared.load()
    functions = [cls] if declared.kind == "id" else [f for n in FUNCTIONS if (f := getattr(cls, n, None))]
    found = [p for function in functions for p in inspect.signature(function).parameters.values()]
    if not any(p.name == name for p in found):  # a dataclass takes what a method passes on
        found = [f for each in vars(flip_settings).values() if is_dataclass(each) for f in fields(each)]
    return [p.default for p in found if p.name == name]


FUNCTIONS = ("model", "collator", "make_batch")


@pytest.mark.parametrize("name", [*registry.names(), *registry._targets(registry.PRETRAININGS)])
def test_what_a_key_leaves_out_is_the_codes_default(name):
    is_method = name in registry.names()
    declared = registry.get(name) if is_method else registry.pretraining(name)
    if is_method and declared.pretraining:
        inner = registry.pretraining(declared.pretraining).settings
        assert all(s.unkeyed == inner[n].unkeyed for n, s in declared.settings[PRETRAIN].items())
    for key, setting in declared.settings.items():
        if key != PRETRAIN and setting.unkeyed is not None:
            assert check_value(key, setting.unkeyed, setting) == setting.unkeyed
            defaults = defaults_in_code(declared, key)
            assert defaults, f"{key}: nothing in the code has a default for it"
            assert all(default == setting.unkeyed for default in defaults), key


def test_every_method_has_ninety_points(suite_file):
    """A search has the same number of points for every row: a grid's numbers are refined between its points."""
    searched = [name for name in registry.names() if registry.get(name).grid]
    path = suite_file(methods=f"[{', '.join(searched)}]", tune="{search: sobol, budget: 90}", settings="{plm: small}")
    planned = expand.expand(suite.load(str(path)), {"planted-tiny": "a" * 64}, lambda *_: None)
    assert {c.method.label: len({t.key for t in c.trials}) for c in planned.cells} == dict.fromkeys(searched, 90)


@pytest.mark.parametrize("bad", [[], [0], [300, -1], [True], [1.5]])
def test_layer_widths_are_whole_numbers_above_zero(bad):
    with pytest.raises(UserError, match=r"^hidden: expected up to 64 whole numbers from 1 to 65536"):
        check_value("hidden", bad, Paper([300], ""))
