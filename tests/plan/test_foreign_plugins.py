"""Other people's packages that cannot be imported, or declare nonsense: each costs one line, and no other's."""

import importlib
import importlib.metadata
import json

import pytest
from own_package import forget, package

from flipbench.errors import UserError
from flipbench.plan import registry
from flipbench.plan.declarations import check_declared

GOOD = '''
from flipbench.plan.settings import AtLeast, Guess
class Model:
    """A model of somebody's."""
    version = 1
    settings = {"unused": Guess(1, "to have one")}
    grid = {}
    def represent(self): ...
'''
BROKEN = {
    "import_error": ("import no_such_module", "No module named 'no_such_module'"),
    "raises": ("raise RuntimeError('two\\nlines \\x1b[2J')", r"RuntimeError: two lines \x1b[2J"),
    "leaves": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "syntax": ("def (", "SyntaxError: invalid syntax"),
    "no_class": ("x = 1", "module 'somebody_no_class' has no attribute 'Model'"),
    "nul": ("x = '\0'", "null bytes"),
    "no_version": (GOOD.replace("version = 1", ""), "declares no 'version'"),
    "version": (GOOD.replace("version = 1", "version = 'x'"), "version: expected a whole number above 0, got 'x'"),
    "settings": (
        GOOD.replace('{"unused": Guess(1, "to have one")}', "3"),
        "settings: expected settings by name, got 3",
    ),
    "setting": (GOOD.replace('Guess(1, "to have one")', "7"), "settings: unused: expected Paper(...), Code(...) or"),
    "names": (GOOD.replace('{"unused":', "{1:"), "settings: expected names, got 1"),
    "default": (GOOD.replace("Guess(1,", "Guess([0],"), "settings: unused: expected up to 64 whole numbers"),
    "grid": (GOOD.replace("grid = {}", "grid = {'unused': 3}"), "grid: unused: expected a list of values, got 3"),
    "flavours": (GOOD.replace("grid = {}", "flavours = {'a': 1}"), "flavours: a: expected values by setting, got 1"),
    "rules": (GOOD.replace("grid = {}", "rules = [3]"), "rules: expected what has a method 'problem', got 3"),
    "rule": (
        GOOD.replace("grid = {}", "rules = [AtLeast('nope', 1, '')]"),
        "declares rules that fail: KeyError: 'nope'",
    ),
    "switches": (GOOD.replace("grid = {}", "switches = ['nope']"), "switches: no setting 'nope'"),
    "pretraining": (GOOD.replace("grid = {}", "pretraining = 'nope'"), "unknown pretraining 'nope'"),
}
"""Module by the name of its model, and what is said of it."""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Somebody's package with a good model and all those of :data:`BROKEN`."""

    modules = {f"somebody_{name}": text for name, (text, _) in BROKEN.items()} | {"somebody_good": GOOD}
    lines = [f"{module.removeprefix('somebody_')} = {module}:Model" for module in modules]
    package(tmp_path / "site", "somebody", modules, "\n".join(["[flipbench.hybrid_methods]", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path / "site")
    forget("somebody_")
    yield tmp_path / "site"
    forget("somebody_")


def test_each_costs_a_line_and_the_others_are_listed(installed, cli):
    code, out, err = cli("list", "models")
    assert code == 0
    assert "A model of somebody's." in out
    assert all(name in out for name in ("flip_plm", "dcnv2", "constant"))
    said = dict(zip(BROKEN, err.splitlines(), strict=True))
    for name, (_, words) in BROKEN.items():
        assert said[name].startswith("flipbench: "), name
        assert words in said[name], name
        assert name == "pretraining" or f"model '{name}' (somebody_{name}:Model)" in said[name]
    listed = {model["name"] for model in json.loads(cli("list", "models", "--json")[1])}
    assert listed == set(registry.names()) - set(BROKEN)


@pytest.mark.parametrize("name", ["import_error", "raises", "leaves", "syntax"])
def test_the_line_that_failed_is_named(name, installed, refused, suite_file):
    said = refused("plan", suite_file(methods=f"[{name}]"))
    assert said.endswith(f" ({installed}/somebody_{name}.py:1)\n")


@pytest.mark.parametrize("name", BROKEN)
def test_a_suite_that_names_it_is_refused_in_a_line(name, installed, suite_file, refused):
    assert BROKEN[name][1] in refused("plan", suite_file(methods=f"[{name}]"))


def test_what_a_module_prints_is_no_output(installed, cli):
    (installed / "somebody_good.py").write_text(f"print('noise')\n{GOOD.replace('{}', 'dict()')}")
    code, out, err = cli("list", "models", "--json")
    assert (code, "noise" in err) == (0, True)
    assert "good" in {model["name"] for model in json.loads(out)}


def test_a_package_whose_entry_points_are_damaged(installed, cli):
    package(installed, "damaged", {}, "[flipbench.id_models]\nthis is no line of it\n")
    importlib.invalidate_caches()
    with pytest.raises(TypeError):
        importlib.metadata.entry_points(group=registry.INSPECTIONS)
    code, out, err = cli("list", "models")
    assert code == 0
    assert "dcnv2" in out
    assert err.startswith("flipbench: package 'damaged': its entry points cannot be read (")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": True}, "version: expected a whole number above 0, got True"),
        ({"version": 0}, "version: expected a whole number above 0, got 0"),
        ({"needs": "mlm"}, "needs: expected a list of names, got 'mlm'"),
        ({"pretrainings": 1}, "pretrainings: expected a list of names, got 1"),
        ({"settings": ["x" * 100]}, f"settings: expected settings by name, got ['{'x' * 55}..."),
    ],
)
def test_what_an_inspection_declares(changes, said):
    declared = {"version": 1, "settings": {"rows": 3}, "pretrainings": ["flip"], "needs": ()}
    check_declared(declared, plain=True)
    with pytest.raises(UserError) as error:
        check_declared(declared | changes, plain=True)
    assert str(error.value) == said
