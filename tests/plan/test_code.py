"""The digest of a method's code: what of its source counts, and of which modules."""

import ast
import importlib
import sys
import time

import pytest

from flipbench.plan import code, registry
from flipbench.plan.code import code_of, meaning_of

SOURCE = '''
"""Docstring."""
from __future__ import annotations
import os.path as p, sys
from . import other
from .. import *

NAMES: dict[str, int] = {"a": 1, **{}, "é\\U0001FAE8": 0xFF}  # comment

class A(Base, metaclass=M):
    """Docstring."""
    version = 1
    grid = {"x": [1]}
    settings = {"x": 1}
    attribute: int = 2
    """Of the attribute."""

    @property
    async def f(self, a, /, b=1, *args, c, d=-2.5e-8, **kw) -> int:
        """Docstring."""
        async with x as y, z: pass
        async for i in g():
            await i
        else:
            ...
        return [q async for q in r if q if not q]

def g(*, a=None):
    global NAMES
    match a:
        case {"k": [1, *rest], **others} if rest: del a[0]
        case C(x=1) | None: yield from b
        case _: raise E from None
    try:
        x[1:2, ::3] @= lambda *q: (yield)
    except* (E, F) as e:
        assert e, f"a{e!r:>{w}.2f}b" "c" f"{e=}" if 1j < 2 <= 3 is not True else b"\\0"
    finally:
        while (n := n - 1): continue
    return 10**9, 123456789012345678901234567890, 1.0, 1, True, ...
'''


def meaning(text):
    return meaning_of(ast.parse(text))


def test_the_digest_is_the_same_on_every_python():
    """CI runs this on each; a digest that moved would call every recorded run changed."""
    assert meaning(SOURCE) == "a6f9277927334276270a40f47a783369f79d214bac54989ac6ebddacdeac31ea"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x=(1)  # comment\n\n"),
        ("def f():\n    return 1", 'def f():\n    """Doc."""\n\n    # why\n    return 1\n'),
        ("class A:\n    x = 1", 'class A:\n    """Doc."""\n    x = 1\n    """Of x."""\n'),
        ("def f(): pass", "def f():\n    ..."),
        ("x = 'a' 'b'", 'x = "ab"'),
        ("x = f'a' 'b{y}'", "x = 'a' f'b{{y}}'"),
        ("x = 0x10", "x = 16"),
        ("class A:\n    version = 1\n    grid = {}", "class A:\n    version: int = 2\n    grid = {'a': [1]}"),
    ],
)
def test_what_does_not_count(one, other):
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = y", "x = y * 0"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = 'a'", "x = b'a'"),
        ("x = a - b - c", "x = a - (b - c)"),
        ("x = a\ny = b", "y = b\nx = a"),
        ("f(a, b)", "f((a, b))"),
        ("def f(a=1): pass", "def f(*, a=1): pass"),
        ("def f(*, a, b=1): pass", "def f(*, a=1, b): pass"),
        ("x = f'{a}'", "x = f'{a!r}'"),
        ("x = f'{a}'", "x = '{a}'"),
        ("x = {**a, 'b': 1}", "x = {'b': 1, **a}"),
        ("from . import a", "from .. import a"),
        ("import a.b", "import a.b as a"),
        ("version = 1", "version = 2"),
        ("class A:\n    settings = {'a': 1}", "class A:\n    settings = {'a': 2}"),
        ("if a:\n    x()", "if a:\n    pass\nelse:\n    x()"),
    ],
)
def test_what_counts(one, other):
    assert meaning(one) != meaning(other)


def test_a_deep_expression_is_read():
    text = " + ".join(["x"] * 900)
    assert meaning(text) != meaning(f"{text} + x")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """``own(**modules)``: writes a package ``ownpkg`` that nobody imports, and gives the code of ``ownpkg.model:M``."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(target="ownpkg.model:M", **modules):
        for name, text in {"model": "class M: ...", **modules}.items():
            path = tmp_path / "ownpkg" / f"{name.replace('__', '/') if name != '__init__' else name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        found = code_of(target)
        assert "ownpkg" not in sys.modules, "nothing is imported"
        return found

    return write


@pytest.mark.parametrize(
    "statement",
    [
        "from ownpkg.parts import x",
        "from ownpkg import parts",
        "import ownpkg.parts",
        "from .parts import x",
        "from . import parts",
        "def f():\n    from ownpkg.parts import x",
        "from ownpkg.between import x",
        "from ownpkg.sub.deep import x",
    ],
)
def test_modules_of_the_own_package_count(own, statement):
    modules = {
        "model": f"{statement}\nclass M: ...",
        "parts": "x = 1",
        "between": "from ownpkg.parts import x\nimport ownpkg.model",
        "sub/deep": "from ..parts import x",
        "unused": "x = 1",
    }
    before = own(**modules)
    assert before.others >= 1
    assert own(**modules | {"parts": "x = 2"}).digest != before.digest
    assert own(**modules | {"unused": "x = 2"}) == before
    assert own(**modules) == before


def test_a_name_of_the_package_itself_counts_its_init(own):
    modules = {"model": "from ownpkg import x\nclass M: ...", "__init__": "x = 1"}
    before = own(**modules)
    assert own(**modules | {"__init__": "x = 2"}).digest != before.digest


def test_two_classes_of_a_module_are_not_one(own):
    assert own().digest != own("ownpkg.model:N").digest


def test_what_is_not_there_is_not_known_and_what_is_no_python_counts_by_its_bytes(own):
    assert own("ownpkg.nothing:M") is None
    assert code_of("no_such_package.model:M") is None
    assert own(model="class M: ...\nfrom ownpkg.gone import x").others == 0
    assert own(model="def (").digest != own(model="def ( ").digest


def test_frozen_code_is_what_was_seen_first(own, tmp_path):
    own(model="from ownpkg.parts import x\nclass M: ...", parts="x = 1")
    first = code_of("ownpkg.model:M", frozen=True)
    (tmp_path / "ownpkg" / "parts.py").write_text("x = 22")
    assert code_of("ownpkg.model:M", frozen=True) == first
    assert code_of("ownpkg.model:M").digest != first.digest
    (tmp_path / "ownpkg" / "parts.py").unlink()
    assert code_of("ownpkg.model:M", frozen=True).digest != code_of("ownpkg.model:M").digest


@pytest.mark.parametrize("name", registry.names())
def test_of_a_built_in_method_its_file_and_other_methods_count(name, monkeypatch):
    """Never the engine, whose version is another."""
    read = []
    look = code._look
    monkeypatch.setattr(code, "_look", lambda module: read.append(module) or look(module))
    target = registry.get(name).target
    counted = code_of(target)
    assert read[0] == target.partition(":")[0]
    assert all(module.startswith(("baselines.", "flipbench.methods.flip.")) for module in read)
    assert counted.file.stem == read[0].rpartition(".")[2]
    assert (counted.others > 0) == (name.startswith(("flip", "alt", "ctrl")))


def test_the_digest_of_all_methods_takes_no_time():
    code._read.cache_clear()
    began = time.perf_counter()
    for name in registry.names():
        code_of(registry.get(name).target)
    assert time.perf_counter() - began < 1
