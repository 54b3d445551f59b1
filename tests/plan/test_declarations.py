"""What is read from a syntax tree is what importing gives."""

import sys
from itertools import count

import pytest

from flipbench.methods.base import PLMMethod
from flipbench.plan import registry, settings
from flipbench.plan.declarations import _from_class, _from_source, read_declarations
from flipbench.plan.registry import _DEFAULTS, _INSPECTION, _METHOD, _methods, _targets
from flipbench.plan.settings import AtLeast, Guess, Paper, Valid

REGISTERED = [
    *((name, target, _METHOD) for name, (_, target) in _methods(None).items()),
    *((name, target, _METHOD) for name, target in _targets(registry.PRETRAININGS).items()),
    *((name, target, _INSPECTION) for name, target in _targets(registry.INSPECTIONS).items()),
]
IMPORTED = {"flip", "flip_id", "flip_plm", "alt", "alt_id", "alt_plm", "ctrl", "pretraining"}
"""Those whose declarations are FLIP's, named from another module that imports no torch."""

NUMBERS = count()

IMPORTS = """
from typing import ClassVar
from flipbench.methods.base import PLMMethod
from flipbench.plan.settings import DEEP, AtLeast, Code, Guess, Settings, Valid
"""
PLAIN = '''
class X(PLMMethod):
 """First line.

 Further ones.
 """
 version = 1
 settings = {"a": Guess(1, "why", Valid.WIDTH), **DEEP}
 grid = {"a": [1, 2]}
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module, and a package for a dotted name, that nobody has imported; returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(settings.DEEP, "dropout", settings.DEEP["dropout"])  # some modules change these
    monkeypatch.setattr(PLMMethod, "pretraining", PLMMethod.pretraining)

    def write(text, name="", package=None):
        name = name or f"awkward_{next(NUMBERS)}"
        if package is not None:
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text(package.format(name=name), encoding="utf-8")
            name += ".inner"
        tmp_path.joinpath(*name.split(".")).with_suffix(".py").write_text(text, encoding="utf-8")
        return name

    return write


def complete(declared, attributes=_METHOD):
    """With the defaults that a base class may or may not state."""
    defaults = {name: value for name, value in _DEFAULTS.items() if name in attributes}
    return declared[0], defaults | declared[1]


@pytest.mark.parametrize(("name", "target", "attributes"), REGISTERED)
def test_of_every_registered_class(name, target, attributes):
    module, _, class_name = target.partition(":")
    declared = _from_source(module, class_name, attributes)
    assert (declared is None) == (name in IMPORTED)
    if declared:
        assert complete(declared, attributes) == complete(_from_class(module, class_name, attributes), attributes)


CLASS = "class X(PLMMethod):\n"
CERTAIN = {
    "plain": (
        PLAIN,
        {"version": 1, "settings": {"a": Guess(1, "why", Valid.WIDTH), **settings.DEEP}, "grid": {"a": [1, 2]}},
    ),
    "annotated": (CLASS + " version: ClassVar[int] = 3\n grid: dict", {"version": 3}),
    "nested": (
        CLASS + " settings: ClassVar[Settings] = {'pretrain': {'a': Guess(-1.5, '')}}",
        {"settings": {"pretrain": {"a": Guess(-1.5, "")}}},
    ),
    "aliased import": (
        "from flipbench.plan.settings import Paper as P\n" + CLASS + " settings = {'a': P(1, 'V')}",
        {"settings": {"a": Paper(1, "V")}},
    ),
    "flavours": (CLASS + " flavours = {'p': {}, 'r': {'a': 1 / 8}}", {"flavours": {"p": {}, "r": {"a": 0.125}}}),
    "rules": (
        CLASS + " rules = [AtLeast('a', 2, reason='')]\n pretraining = 'mlm'\n switches = 'a',",
        {"rules": [AtLeast("a", 2, "")], "pretraining": "mlm", "switches": ("a",)},
    ),
    "methods and others": (
        CLASS + " version = 1\n other: int = 3\n def model(self, settings):\n  version = 2\nclass Y: version = 2",
        {"version": 1},
    ),
}


@pytest.mark.parametrize(("text", "declares"), CERTAIN.values(), ids=CERTAIN)
def test_what_is_certain_is_read_without_an_import(module, text, declares):
    name = module(IMPORTS + text)
    declared = read_declarations(f"{name}:X", _METHOD)
    assert name not in sys.modules
    assert declared[1] == declares
    assert complete(declared) == complete(_from_class(name, "X", _METHOD))


GUESS = "def Guess(value, *more):\n return Code(10 * value, *more)\n"
OTHER = "class Other(PLMMethod):\n pretraining = 'mlm'\n"
BEFORE = {
    "name defined again": GUESS,
    "name assigned again": GUESS.replace("Guess", "tenfold") + "Guess = tenfold\n",
    "name imported again": "from flipbench.plan.settings import Code as Guess\n",
    "name imported under a condition": "if True:\n from star import Guess\n",
    "name matched": "match {'a': 1, 'b': Code}:\n case {'b': Guess}: pass\n",
    "star import": "from star import *\n",
    "shared settings changed": "DEEP['dropout'] = Code(0.5, '')\n",
    "shared settings updated": "DEEP.update(dropout=Code(0.5, ''))\n",
    "base defined again": OTHER.replace("Other", "PLMMethod"),
    "base imported again": "from star import Other as PLMMethod\n",
    "base changed": "PLMMethod.pretraining = 'mlm'\n",
    "decorated": "def twice(cls):\n cls.version = 2\n return cls\n@twice\n",
}
AFTER = {
    # a body that does more than assign
    "assigned twice": " version = 2",
    "under a condition": " if True:\n  version = 2",
    "several targets": " version = other = 2",
    "unpacked": " version, other = 2, 3",
    "augmented": " settings |= {'b': Guess(2, '')}",
    "item assigned": " settings['b'] = Guess(2, '')",
    "changed in another assignment": " other = settings.update(b=Guess(2, ''))",
    "walrus": " other = (version := 2)",
    "default of a parameter": " def f(self, a=(version := 2)): ...",
    "locals": " other = locals().update(version=2)",
    "computed": " rules = sorted([2, 1])",
    "computed, and imported in a function": " rules = divmod(7, 2)\ndef f():\n"
    "  from flipbench.plan.settings import Range as divmod",
    "changes what it reads": " rules = [DEEP.update(dropout=Code(0.5, ''))]",
    "function of this name": " def rules(self): ...",
    "class of this name": " class settings: ...",
    "docstring assigned": " __doc__ = 'Another.'",
    # a class that is changed or replaced after its definition
    "attribute assigned": "X.version = 2",
    "attribute deleted": "del X.grid",
    "item assigned later": "X.settings['b'] = Guess(2, '')",
    "settings updated": "X.settings.update(b=Code(2, ''))",
    "setattr": "setattr(X, 'version', 2)",
    "another name": "Y = X\nY.version = 2",
    "globals": "globals()['X'].version = 2",
    "through the module": "import sys\nsys.modules[__spec__.name].X.version = 2",
    "changed in a function": "def f():\n X.version = 2\nf()",
    "defined twice": "class X(PLMMethod):\n version = 2",
    "defined under a condition": "if True:\n class X(PLMMethod):\n  version = 2",
    "replaced by an import": "from star import Other as X",
}
AWKWARD = {
    **{name: IMPORTS + text + PLAIN.strip() for name, text in BEFORE.items()},
    **{name: IMPORTS + PLAIN + text for name, text in AFTER.items()},
    "base with declarations": IMPORTS + OTHER + PLAIN.replace("PLMMethod", "Other"),
    "two bases": IMPORTS + "class A:\n rules = [1]" + PLAIN.replace("PLMMethod", "PLMMethod, A"),
    "metaclass": IMPORTS + "class A(type):\n rules = [1]" + PLAIN.replace("PLMMethod", "PLMMethod, metaclass=A"),
}
STAR = IMPORTS + GUESS + OTHER


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
def test_what_is_not_certain_is_imported(module, monkeypatch, text):
    plain = complete(_from_source(module(IMPORTS + PLAIN), "X", _METHOD))
    monkeypatch.delitem(sys.modules, "star", raising=False)
    module(STAR, "star")
    name = module(text)
    declared = read_declarations(f"{name}:X", _METHOD)
    assert declared == _from_class(name, "X", _METHOD)
    assert complete(declared) != plain, "nothing that reading could have missed"


def test_a_package_may_change_its_modules_classes(module):
    name = module(IMPORTS + PLAIN, package="from {name}.inner import X\nX.version = 2\n")
    assert read_declarations(f"{name}:X", _METHOD)[1]["version"] == 2


def test_a_subclass_that_declares_again_keeps_the_rest(module):
    """As ClickPrompt with another version: its pretraining, flavours and rules are its base's."""
    name = module(
        "from baselines.clickprompt import ClickPrompt\nfrom flipbench.methods.flip.methods import FLIP\n"
        "from flipbench.plan.settings import AtLeast, Guess\n\n"
        "class Base(ClickPrompt):\n    flavours = {'paper': {}}\n    rules = [AtLeast('a', 2, '')]\n\n"
        "class X(Base):\n    version = 7\n    settings = {'a': Guess(1, '')}\n    grid = {'a': [1]}\n\n"
        "class Flip(FLIP):\n    version = 7\n    settings = {'a': Guess(1, '')}\n    grid = {}\n"
    )
    own = {"version": 7, "settings": {"a": Guess(1, "")}, "grid": {"a": [1]}}
    inherited = {"pretraining": "pa_mlm", "flavours": {"paper": {}}, "rules": [AtLeast("a", 2, "")]}
    assert read_declarations(f"{name}:X", _METHOD)[1] == {**own, **inherited}
    assert read_declarations(f"{name}:Flip", _METHOD)[1].keys() >= {"pretraining", "flavours"}


@pytest.mark.parametrize(
    ("target", "error"),
    [("no_such_module:X", ImportError), ("baselines.ptab:X", AttributeError), ("math:X", AttributeError)],
)
def test_what_does_not_exist_is_reported(target, error):
    with pytest.raises(error):
        read_declarations(target, _METHOD)


def test_a_class_in_a_function_is_none_of_the_module(module):
    with pytest.raises(AttributeError):
        read_declarations(module(IMPORTS + "def f():\n class X(PLMMethod):\n  version = 1\n") + ":X", _METHOD)
