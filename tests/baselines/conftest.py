"""Small instances of every ID-based model, and runs of methods with a PLM on a small table."""

from functools import cache

import pytest
import torch
from one_thread import one_thread  # noqa: F401 - fixture
from tiny_clicks import Lab, make_table

from flipbench.plan import registry
from flipbench.run.contract import Subject

FEATURES, FIELDS = 30, 4
SMALL = {"embedding_dim": 8, "hidden": [12, 6], "cin": [6, 5], "log_neurons": 7, "experts": 3, "rank": 4}


@pytest.fixture(params=registry.names("id"))
def name(request):
    return request.param


@pytest.fixture
def cls(name):
    return registry.get(name).load()


@pytest.fixture
def build():
    """``build(name, std=..., **settings)``: a small model; with ``std`` all weights are redrawn at that scale."""

    def build(name, std=None, fields=FIELDS, **settings):
        torch.manual_seed(1)
        cls = registry.get(name).load()
        declared = {key: setting.value for key, setting in cls.settings.items()}
        small = {key: value for key, value in SMALL.items() if key in declared}
        small |= {"attention_dim": 5} if name == "afm" else {}
        model = cls(FEATURES, fields, **declared | small | settings)
        if std is not None:
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=std)
        return model

    return build


@pytest.fixture(scope="module")
def subject_of():
    """``subject_of(name)``: what the contract is tried on, at small widths; trained once a module."""

    @cache
    def subject_of(name):
        cls = registry.get(name).load()
        small = {**SMALL, "hidden": [64, 32]}  # of a dozen ReLUs none may be alive at the start
        return Subject.of(cls, **{key: value for key, value in small.items() if key in cls.settings})

    return subject_of


@pytest.fixture
def ids():
    """[64, F] int64, every feature id but the mask."""
    return torch.randint(1, FEATURES, (64, FIELDS), generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def table(request, tmp_path_factory):
    """As many rows as the module says."""
    return make_table(tmp_path_factory.mktemp("clicks"), request.module.ROWS)


@pytest.fixture
def lab(tmp_path, table, monkeypatch):
    return Lab(tmp_path / "results", table, monkeypatch)
