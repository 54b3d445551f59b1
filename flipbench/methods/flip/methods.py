"""FLIP, FLIP_ID and FLIP_PLM, their pretraining, as registered methods. Imports no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.methods.flip.settings import (
    FINETUNE_SETTINGS,
    GRID,
    PRETRAIN_RULES,
    PRETRAIN_SETTINGS,
    RELEASED,
    SWITCHES,
)
from flipbench.plan.settings import Grid, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from flipbench.methods.context import MethodContext
    from flipbench.methods.flip.batch import PretrainBatch
    from flipbench.methods.flip.model import Pretraining
    from flipbench.models.click_model import ClickModel
    from flipbench.train.pretrain import MakeBatch


class Alignment(PretrainingMethod):
    """Modality alignment of an ID-based model and a PLM (Wang et al., RecSys 2024, eq. 1-14)."""

    version: ClassVar[int] = 1
    settings: ClassVar[Settings] = PRETRAIN_SETTINGS
    rules = PRETRAIN_RULES
    switches = SWITCHES

    @staticmethod
    def model(context: "MethodContext", ids: "Tensor", **settings: Any) -> "Pretraining":
        from flipbench.methods.flip.model import Pretraining
        from flipbench.methods.flip.noise import feature_counts
        from flipbench.methods.flip.settings import PretrainSettings
        from flipbench.text.tokens import check_length

        id_model = context.fresh_id_model()  # the new layers are drawn after its, from one stream
        encoder = context.encoder()
        check_length(context.tokens, ids, encoder.max_positions)
        return Pretraining(id_model, encoder, PretrainSettings(**settings), feature_counts(ids, id_model.features))

    @staticmethod
    def make_batch(context: "MethodContext", ids: "Tensor", **settings: Any) -> "MakeBatch":
        from flipbench.methods.flip.batch import draw_batch
        from flipbench.methods.flip.noise import Noise, feature_counts
        from flipbench.methods.flip.settings import PretrainSettings

        tokens, streams, chosen = context.tokens, context.streams, PretrainSettings(**settings)
        noise = Noise(feature_counts(ids, context.table.num_features))

        def make(batch: "Tensor", epoch: int, step: int, share: slice) -> "PretrainBatch":
            return draw_batch(batch, tokens, noise, chosen, streams, epoch, step, share)

        return make


class FLIP(PLMMethod):
    """ID-based model and PLM aligned in pretraining, finetuned together (Wang et al., RecSys 2024, eq. 1-17)."""

    version: ClassVar[int] = 1
    settings: ClassVar[Settings] = FINETUNE_SETTINGS
    grid: ClassVar[Grid] = GRID
    flavours: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "released": RELEASED}
    pretraining = "pretraining"

    @staticmethod
    def model(context: "MethodContext", **settings: Any) -> "ClickModel":
        from flipbench.methods.flip import ctr

        return ctr.FLIP(context.id_model(), context.encoder(), settings["alpha_start"])


class FLIPID(FLIP):
    """The ID-based model alone after FLIP's pretraining (Wang et al., RecSys 2024, eq. 18)."""

    @staticmethod
    def model(context: "MethodContext", **settings: Any) -> "ClickModel":
        from flipbench.models.click_model import IDClickModel

        return IDClickModel(context.id_model())

    @staticmethod
    def collator(context: "MethodContext", **settings: Any) -> None:
        return None


class FLIPPLM(FLIP):
    """The PLM alone after FLIP's pretraining (Wang et al., RecSys 2024, eq. 19)."""

    grid: ClassVar[Grid] = {"plm_learning_rate": [1e-5, 5e-5, 1e-4, 5e-4]}  # about the code's 5e-5

    @staticmethod
    def model(context: "MethodContext", **settings: Any) -> "ClickModel":
        from flipbench.methods.flip import ctr

        return ctr.FLIPPLM(context.encoder())
