"""FLIP, FLIP_ID and FLIP_PLM, their pretraining, as registered methods. Imports no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flipbench.errors import UserError
from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.methods.flip.settings import (
    FINETUNE_RULES,
    FLIP_SETTINGS,
    GRID,
    ID_GRID,
    ID_SETTINGS,
    PLM_GRID,
    PLM_SETTINGS,
    PRETRAIN_RULES,
    PRETRAIN_SETTINGS,
    RELEASED,
    RELEASED_ID,
    RELEASED_PLM,
    SWITCHES,
)
from flipbench.plan.settings import Grid, Settings

if TYPE_CHECKING:
    from torch import Tensor

    from flipbench.methods.context import MethodContext
    from flipbench.methods.flip.batch import PretrainBatch
    from flipbench.methods.flip.model import Pretraining
    from flipbench.models.click_model import ClickModel
    from flipbench.models.soft_prompt import Pooling
    from flipbench.train.pretrain import MakeBatch


class Alignment(PretrainingMethod):
    """Modality alignment of an ID-based model and a PLM (Wang et al., RecSys 2024, eq. 1-14)."""

    version: ClassVar[int] = 2  # 2: MTM's attention in float32 under autocast too
    settings: ClassVar[Settings] = PRETRAIN_SETTINGS
    rules = PRETRAIN_RULES
    switches = SWITCHES

    @staticmethod
    def model(context: "MethodContext", ids: "Tensor", **settings: Any) -> "Pretraining":
        from flipbench.methods.flip.model import Pretraining
        from flipbench.methods.flip.noise import feature_counts
        from flipbench.methods.flip.settings import PretrainSettings
        from flipbench.text.tokens import check_length

        chosen = PretrainSettings(**settings)
        id_model = context.fresh_id_model()  # the new layers are drawn after its, from one stream
        encoder = context.encoder()
        check_length(context.tokens, ids, encoder.max_positions)
        if chosen.mtm_pad_to > encoder.max_positions:
            raise UserError(
                f"pretrain.mtm_pad_to: {chosen.mtm_pad_to}; nearest: {encoder.max_positions}, the PLM's most"
            )
        return Pretraining(id_model, encoder, chosen, feature_counts(ids, id_model.features))

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
    settings: ClassVar[Settings] = FLIP_SETTINGS
    grid: ClassVar[Grid] = GRID
    rules = FINETUNE_RULES
    flavours: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "released": RELEASED}
    pretraining = "pretraining"

    @staticmethod
    def model(context: "MethodContext", *, alpha_start: float, fused_biases: bool = False, **_: Any) -> "ClickModel":
        from flipbench.methods.flip import ctr

        return ctr.FLIP(context.id_model(), context.encoder(), alpha_start, fused_biases)


class FLIPID(FLIP):
    """The ID-based model alone after FLIP's pretraining (Wang et al., RecSys 2024, eq. 18)."""

    settings: ClassVar[Settings] = ID_SETTINGS
    grid: ClassVar[Grid] = ID_GRID
    flavours: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "released": RELEASED_ID}

    @staticmethod
    def model(context: "MethodContext", **settings: Any) -> "ClickModel":
        from flipbench.models.click_model import IDClickModel

        return IDClickModel(context.id_model())

    @staticmethod
    def collator(context: "MethodContext", **settings: Any) -> None:
        return None


class FLIPPLM(FLIP):
    """The PLM alone after FLIP's pretraining (Wang et al., RecSys 2024, eq. 19)."""

    settings: ClassVar[Settings] = PLM_SETTINGS
    grid: ClassVar[Grid] = PLM_GRID
    flavours: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "released": RELEASED_PLM}

    @staticmethod
    def model(context: "MethodContext", *, pooling: "Pooling" = "cls", dropout: float = 0.0, **_: Any) -> "ClickModel":
        from flipbench.methods.flip import ctr

        return ctr.FLIPPLM(context.encoder(), pooling, dropout)
