"""FLIP, FLIP_ID and FLIP_PLM as registered methods: what a suite can set, and who says so.

The defaults are those of :mod:`flipbench.flip.settings`; here stands where each comes from. Imports no torch.
"""

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar

from flipbench.flip.settings import PAPER, RELEASED, FinetuneSettings, PretrainSettings
from flipbench.method import Code, Guess, Paper, Setting, Settings, Value

if TYPE_CHECKING:
    from flipbench.flip.ctr import ClickModel
    from flipbench.nn.id_model import IDModel
    from flipbench.text.plm import Encoder

TINYBERT = "huawei-noah/TinyBERT_General_4L_312D@34707a33cd59a94ecde241ac209bf35103691b43"

_CHOICE: dict[str, Setting] = {
    "backbone": Paper("dcnv2", "V-A4: DCNv2; the released code's is dcnv2_mix"),
    "plm": Paper(TINYBERT, "V-A4"),
    "flavour": Guess("paper", "the paper's equations, rather than the released code where they differ"),
}
_PRETRAIN = {
    "mlm": Paper,
    "mtm": Paper,
    "icl": Paper,
    "joint_reconstruction": Paper,
    "mask_unit": Paper,
    "text_mask_ratio": Paper,
    "table_mask_ratio": Paper,
    "icl_head": Paper,
    "icl_dim": Code,
    "icl_similarity": Paper,
    "temperature": Paper,
    "icl_weight": Paper,
    "icl_gather": Guess,
    "mtm_query": Paper,
    "mtm_scale": Paper,
    "mtm_padding": Paper,
    "mtm_head": Paper,
    "mtm_hidden": Guess,
    "mtm_dim": Code,
    "mtm_loss": Paper,
    "noise": Paper,
    "mlm_average": Paper,
    "epochs": Paper,
    "batch_size": Paper,
    "learning_rate": Paper,
    "weight_decay": Code,
    "precision": Guess,
}
_FINETUNE = {
    "learning_rate": Guess,
    "plm_learning_rate": Code,
    "weight_decay": Paper,
    "embedding_l2": Guess,
    "alpha_start": Code,
    "batch_size": Paper,
    "max_epochs": Code,
    "patience": Code,
    "precision": Guess,
}
"""Who says each default; the docstring under the field of the same name says where."""


def _declared(settings: type[PretrainSettings] | type[FinetuneSettings], sources: dict[str, Any]) -> dict[str, Setting]:
    where = f"flipbench.flip.settings.{settings.__name__}"
    return {f.name: sources[f.name](f.default, f"{where}.{f.name}") for f in fields(settings)}


def _prefixed(items: dict[str, Any]) -> dict[str, Any]:
    return {f"pretrain.{name}": item for name, item in items.items()}


SETTINGS: dict[str, Setting] = {
    **_CHOICE,
    **_prefixed(_declared(PretrainSettings, _PRETRAIN)),
    **_declared(FinetuneSettings, _FINETUNE),
}
FLAVOURS: dict[str, dict[str, Value]] = {
    "paper": {},
    "released": {
        name: value
        for name, value in {**_prefixed(asdict(RELEASED.pretrain)), **asdict(RELEASED.finetune)}.items()
        if value != {**_prefixed(asdict(PAPER.pretrain)), **asdict(PAPER.finetune)}[name]
    },
}
GRID: dict[str, list[Any]] = {
    "learning_rate": [1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3],  # V-A4
    "embedding_l2": [0.0, 1e-6, 1e-5, 1e-4, 1e-3],  # the baselines' range
}


class FLIP:
    """ID-based model and PLM aligned in pretraining, finetuned together (Wang et al., RecSys 2024, eq. 1-17)."""

    version: ClassVar[int] = 1
    settings: ClassVar[Settings] = SETTINGS
    grid: ClassVar[dict[str, list[Any]]] = GRID
    flavours: ClassVar[dict[str, dict[str, Value]]] = FLAVOURS
    reads_text: ClassVar[bool] = True
    """Whether finetuning and scoring read a row's tokens."""

    @staticmethod
    def model(id_model: "IDModel", encoder: "Encoder", settings: FinetuneSettings) -> "ClickModel":
        """The model to finetune, of two parts that are pretrained or fresh."""
        from flipbench.flip import ctr

        return ctr.FLIP(id_model, encoder, settings.alpha_start)


class FLIPID(FLIP):
    """The ID-based model alone after FLIP's pretraining (Wang et al., RecSys 2024, eq. 18)."""

    reads_text = False

    @staticmethod
    def model(id_model: "IDModel", encoder: "Encoder", settings: FinetuneSettings) -> "ClickModel":
        from flipbench.flip import ctr

        return ctr.FLIPID(id_model)


class FLIPPLM(FLIP):
    """The PLM alone after FLIP's pretraining (Wang et al., RecSys 2024, eq. 19)."""

    grid: ClassVar[dict[str, list[Any]]] = {"plm_learning_rate": [1e-5, 5e-5, 1e-4, 5e-4]}  # about the code's 5e-5

    @staticmethod
    def model(id_model: "IDModel", encoder: "Encoder", settings: FinetuneSettings) -> "ClickModel":
        from flipbench.flip import ctr

        return ctr.FLIPPLM(encoder)
