"""Other people's packages that cannot be imported, or declare nonsense: each costs one line, and no other's."""

import importlib
import importlib.metadata
import json

import pytest
from own_package import forget, package

from flipbench import plugins
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
    for what, known in (("models", "dcnv2"), ("datasets", "movielens-1m")):
        code, out, err = cli("list", what)
        assert code == 0
        assert known in out
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


DATA = """
from flipbench.data.dataset import Dataset
from flipbench.data.table import Field
def read(raw, allow_partial): ...
DATA = Dataset("NAME", "A data set of somebody's", "", "", (Field("user_id", "user id", "user"),), "", read)
"""
BROKEN_DATA = {
    "data-import": ("import no_such_module", "cannot be loaded: No module named 'no_such_module'"),
    "data-raises": ("raise RuntimeError('two\\nlines')", "cannot be loaded: RuntimeError: two lines"),
    "data-leaves": ("import sys; sys.exit(3)", "cannot be loaded: SystemExit: 3"),
    "data-missing": ("x = 1", "cannot be loaded: module 'somebody_data_missing' has no attribute 'DATA'"),
    "data-kind": ("DATA = 3", "declares an object of type int, where a Dataset is expected"),
    "data-name": (DATA.replace("NAME", "movielens-1m"), "declares the name 'movielens-1m': it must be 'data-name'"),
    "data-fields": (
        DATA.replace('(Field("user_id", "user id", "user"),)', "['user']"),
        "fields: expected a tuple",
    ),
    "data-orders": (
        DATA.replace("read)", "read, orders=('backwards',))"),
        "orders: expected a tuple of chrono",
    ),
    "data-files": (DATA.replace("read)", "read, files='clicks.csv')"), "files: expected a tuple of names"),
    "data-version": (DATA.replace("read)", "read, version='1')"), "version: expected a whole number, got '1'"),
}
"""Module by the name of its data set, and what is said of it."""


@pytest.fixture
def installed_data(installed):
    """Somebody's package with a good data set and all those of :data:`BROKEN_DATA`."""
    texts = {name: text.replace("NAME", name) for name, (text, _) in BROKEN_DATA.items()}
    texts["data-good"] = DATA.replace("NAME", "data-good")
    modules = {f"somebody_{name.replace('-', '_')}": text for name, text in texts.items()}
    lines = [f"{name} = {module}:DATA" for name, module in zip(texts, modules, strict=True)]
    package(installed, "somebodys-data", modules, "\n".join(["[flipbench.datasets]", *lines, ""]))
    importlib.invalidate_caches()


def test_each_data_set_costs_a_line_and_the_others_are_listed(installed_data, cli):
    for command in (("list", "datasets"), ("data", "list"), ("data", "check")):
        code, out, err = cli(*command)
        assert code == 0
        assert ("MovieLens-1M" in out, "A data set of somebody's" in out) == (True, command[-1] != "check")
        said = dict(zip(sorted(BROKEN_DATA), err.splitlines(), strict=True))
        for name, (_, words) in BROKEN_DATA.items():
            assert said[name].startswith(f"flipbench: data set '{name}' (somebody_{name.replace('-', '_')}:DATA) ")
            assert words in said[name]


def test_a_suite_that_names_a_broken_data_set_is_refused_and_others_are_not(installed_data, suite_file, refused, cli):
    for name, (_, words) in BROKEN_DATA.items():
        assert words in refused("plan", suite_file(data=f"[{name}]"))
    code, _, err = cli("plan", suite_file())
    assert (code, err) == (0, "")


TWICE = [
    ("flipbench.id_models", "dcnv2", "baselines.dcnv2:DCNv2", "model", {"methods": "[dcnv2]"}),
    ("flipbench.floors", "dcnv2", "baselines.dcnv2:DCNv2", "model", {"methods": "[dcnv2]"}),
    ("flipbench.plm_methods", "p5", "baselines.p5:P5", "model", {"methods": "[p5: {plm: small}]"}),
    ("flipbench.hybrid_methods", "dcnv2", "baselines.dcnv2:DCNv2", "model", {"methods": "[dcnv2]"}),
    ("flipbench.pretrainings", "mlm", "baselines.ptab:TokenMLM", "pretraining", {"methods": "[ptab: {plm: small}]"}),
    (
        "flipbench.inspections", "embeddings", "flipbench.methods.flip.inspect:Embeddings", "inspection",
        {"methods": "[flip: {plm: small}]", "inspect": "[embeddings]"},
    ),
    (
        "flipbench.datasets", "planted-tiny", "flipbench.data.planted:TINY", "data set",
        {"data": "[planted-tiny]", "settings": ""},
    ),
]  # fmt: skip
"""Group of a second plug-in, its name, the first one's target, what it is, and a suite that uses the name."""


@pytest.mark.parametrize(("group", "name", "target", "what", "uses"), TWICE, ids=lambda value: str(value)[:24])
def test_two_of_one_name_are_refused_naming_both(installed, suite_file, refused, cli, group, name, target, what, uses):
    package(installed, "second", {}, f"[{group}]\n{name} = somebody_second:Second\n")
    importlib.invalidate_caches()
    plugins.forget()
    line = refused("plan", suite_file(**{"settings": "", **uses}))
    assert f"{what} '{name}' is registered by package '" in line
    for one in (f"'flipbench' ({target})", "'second' (somebody_second:Second)"):
        assert f"package {one}" in line
    other = {"methods": "[deepfm]", "data": "[planted-small]"}
    code, _, err = cli("plan", suite_file(**other))
    assert (code, err) == (0, ""), "a suite without it is undisturbed"
    if what in ("model", "data set"):
        code, out, err = cli("list", f"{what.replace(' ', '')}s")
        assert (code, line.partition(f"{what} ")[2] in err) == (0, True)
        assert {"model": "deepfm", "data set": "movielens-1m"}[what] in out


def test_one_package_in_two_places_is_one(installed):
    """An editable installation beside a forgotten copy: importlib passes over the second, and so does a damaged one."""
    (first,) = (point for point in plugins.registered(registry.GROUPS["id"]) if point.name == "dcnv2")
    package(installed, "flipbench", {}, f"[{first.group}]\n{first.name} = {first.value}\n")
    package(installed, "damaged", {}, "[flipbench.id_models]\nthis is no line of it\n")
    importlib.invalidate_caches()
    plugins.forget()
    registry.get.cache_clear()
    assert registry.get("dcnv2").target == first.value
