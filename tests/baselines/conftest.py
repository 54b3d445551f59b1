"""Small instances of every model."""

from collections.abc import Callable

import pytest
import torch

from baselines.afm import AFM
from baselines.afn import AFN
from baselines.autoint import AutoInt
from baselines.dcn import DCN
from baselines.dcnv2 import DCNv2, DCNv2Mix
from baselines.deepfm import DeepFM
from baselines.pnn import PNN
from baselines.wide_deep import WideDeep
from baselines.xdeepfm import XDeepFM
from flipbench.models.id_model import IDModel

CLASSES: dict[str, type[IDModel]] = {
    "afm": AFM,
    "pnn": PNN,
    "wide_deep": WideDeep,
    "dcn": DCN,
    "deepfm": DeepFM,
    "xdeepfm": XDeepFM,
    "autoint": AutoInt,
    "afn": AFN,
    "dcnv2": DCNv2,
    "dcnv2_mix": DCNv2Mix,
}
FEATURES, FIELDS = 30, 4
SMALL = {
    "embedding_dim": 8,
    "hidden": [12, 6],
    "cin": [6, 5],
    "log_neurons": 7,
    "attention_dim": 5,
    "experts": 3,
    "rank": 4,
}

Build = Callable[..., IDModel]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=CLASSES)
def name(request):
    return str(request.param)


@pytest.fixture
def cls(name):
    return CLASSES[name]


@pytest.fixture
def build():
    """``build(name, std=..., **settings)``: a small model; with ``std`` all weights are redrawn at that scale."""

    def build(name, std=None, fields=FIELDS, **settings):
        torch.manual_seed(1)
        cls = CLASSES[name]
        declared = {key: setting.value for key, setting in cls.settings.items()}
        chosen = declared | {key: value for key, value in SMALL.items() if key in declared} | settings
        model = cls(FEATURES, fields, **chosen)
        if std is not None:
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=std)
        return model

    return build


@pytest.fixture
def ids():
    """[64, F] int64, every feature id but the mask."""
    return torch.randint(1, FEATURES, (64, FIELDS), generator=torch.Generator().manual_seed(2))
