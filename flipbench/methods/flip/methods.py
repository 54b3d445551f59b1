"""FLIP, FLIP_ID and FLIP_PLM as registered methods: what a suite can set, and who says so.

The defaults are those of :mod:`flipbench.methods.flip.settings`; here stands where each comes from. Imports no torch.
"""

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, ClassVar

from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.methods.flip.settings import PAPER, RELEASED, VERSION, FinetuneSettings, PretrainSettings
from flipbench.plan.settings import PRETRAIN, TINYBERT, Code, Grid, Guess, Paper, Setting, Settings, Value

if TYPE_CHECKING:
    from flipbench.data.split import Rows
    from flipbench.data.table import Table
    from flipbench.methods.context import Parts
    from flipbench.models.click_model import ClickModel
    from flipbench.plan.stage import Stage
    from flipbench.run.tasks import PretrainTask

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
    "icl_parts": Guess,
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
    where = f"flipbench.methods.flip.settings.{settings.__name__}"
    return {f.name: sources[f.name](f.default, f"{where}.{f.name}") for f in fields(settings)}


def _prefixed(items: dict[str, Any]) -> dict[str, Any]:
    return {PRETRAIN + name: item for name, item in items.items()}


SETTINGS: dict[str, Setting] = {**_CHOICE, **_declared(FinetuneSettings, _FINETUNE)}
"""Those of the finetunings; the pretraining's stand before them."""
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


class Alignment(PretrainingMethod):
    """Modality alignment of an ID-based model and a PLM (Wang et al., RecSys 2024, eq. 1-14)."""

    version: ClassVar[int] = VERSION
    settings: ClassVar[Settings] = _declared(PretrainSettings, _PRETRAIN)

    @classmethod
    def task(cls, stage: "Stage", table: "Table", rows: "Rows", device: str) -> "PretrainTask":
        from flipbench.methods.flip import task

        return task.PretrainTask(stage, table, rows, device)


class FLIP(PLMMethod):
    """ID-based model and PLM aligned in pretraining, finetuned together (Wang et al., RecSys 2024, eq. 1-17)."""

    version: ClassVar[int] = 1
    settings: ClassVar[Settings] = SETTINGS
    grid: ClassVar[Grid] = GRID
    flavours = FLAVOURS
    pretraining = "pretraining"

    @staticmethod
    def model(parts: "Parts", **own: Any) -> "ClickModel":
        from flipbench.methods.flip import ctr

        return ctr.FLIP(parts.id_model(), parts.encoder(), own["alpha_start"])


class FLIPID(FLIP):
    """The ID-based model alone after FLIP's pretraining (Wang et al., RecSys 2024, eq. 18)."""

    @staticmethod
    def model(parts: "Parts", **own: Any) -> "ClickModel":
        from flipbench.methods.flip import ctr

        return ctr.FLIPID(parts.id_model())

    @staticmethod
    def reader(parts: "Parts", **own: Any) -> None:
        return None


class FLIPPLM(FLIP):
    """The PLM alone after FLIP's pretraining (Wang et al., RecSys 2024, eq. 19)."""

    grid: ClassVar[Grid] = {"plm_learning_rate": [1e-5, 5e-5, 1e-4, 5e-4]}  # about the code's 5e-5

    @staticmethod
    def model(parts: "Parts", **own: Any) -> "ClickModel":
        from flipbench.methods.flip import ctr

        return ctr.FLIPPLM(parts.encoder())
