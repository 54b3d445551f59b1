"""Methods by name: those that come with flipbench, and a user's own."""

import os
import subprocess
import sys

import pytest

from flipbench.errors import UserError
from flipbench.plan import registry

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


@pytest.fixture(params=[LITERAL, COMPUTED], ids=["literal", "computed"])
def package(request, tmp_path):
    """A user's package on the path: a module and the entry point that an installer would write."""
    site = tmp_path / "site"
    info = site / "mymodels-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "mymodels.py").write_text(request.param)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mymodels\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flipbench.id_models]\nmy_lr = mymodels:LogisticRegression\n")
    return site


def test_a_users_own_model_is_listed_and_run_by_name(package, suite_file):
    env = os.environ | {"PYTHONPATH": str(package)}
    path = suite_file(methods="[my_lr]")
    for arguments, words in [
        (["list", "models"], "The first-order term alone"),
        (["run", str(path)], "1 of 1 runs done"),
        (["report", str(path)], "my_lr"),
    ]:
        done = subprocess.run(
            [sys.executable, "-m", "flipbench", *arguments], capture_output=True, text=True, env=env, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert words in done.stdout + done.stderr


def test_a_users_own_rule_is_known_when_planned(package, suite_file):
    path = suite_file(methods="[my_lr: {unused: 0}]")
    code = f"import sys; from flipbench.cli import main; print(main(['plan', {str(path)!r}]), 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(package)}, timeout=120,
    )  # fmt: skip
    assert done.stderr.endswith(f"{path}: my_lr: unused: 0 is below 1: for a test; nearest: 1\n")
    computed = "dict(" in (package / "mymodels.py").read_text()
    assert done.stdout == f"1 {computed}\n", "exit code 1; only computed declarations need an import"


def test_an_unknown_model_and_one_that_cannot_be_loaded(monkeypatch):
    with pytest.raises(UserError, match="unknown model 'DeepFM'; did you mean 'deepfm'"):
        registry.get("DeepFM")
    monkeypatch.setattr(registry, "_targets", lambda kind: {"gone": ("id", "no_such_module:X")})
    with pytest.raises(UserError, match=r"model 'gone' \(no_such_module:X\) cannot be loaded: no module"):
        registry.get.__wrapped__("gone")


def test_every_setting_has_a_source_and_guesses_are_counted():
    for name in registry.names():
        declared = registry.get(name)
        assert all(s.source in ("paper", "code", "guess") and s.where for s in declared.settings.values())
        assert ("embedding_l2" in declared.guesses) == ("embedding_l2" in declared.settings), "neither says it"
        assert declared.grid.keys() <= declared.settings.keys()
        assert not any(rule.problem({n: s.value for n, s in declared.settings.items()}) for rule in declared.rules)
        if declared.kind != "plm":
            assert {"learning_rate", "embedding_l2"} <= declared.grid.keys(), (
                "the same L2 range for all that have tables"
            )
