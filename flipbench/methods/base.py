"""What a method with a PLM brings: its model, the text it reads, and what it is pretrained with. Imports no torch.

``flipbench.plm_methods`` (a PLM alone) and ``flipbench.hybrid_methods`` (a PLM and an ID-based model) are the groups of
entry points that :class:`PLMMethod` classes are registered in, ``flipbench.pretrainings`` that of
:class:`PretrainingMethod`, ``flipbench.inspections`` that of :class:`InspectionMethod`. Training and scoring are the
same for all of them (:mod:`flipbench.train`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from flipbench.plan.settings import Grid, Settings, Value

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from flipbench.data.table import Table
    from flipbench.methods.context import MethodContext
    from flipbench.models.click_model import ClickModel
    from flipbench.plan.stage import Stage
    from flipbench.store.runs import Store
    from flipbench.text.collator import TextCollator
    from flipbench.train.finetune import Scorer
    from flipbench.train.pretrain import MakeBatch, PretrainModel


class PLMMethod:
    """Base of the methods with a PLM.

    A subclass declares ``version`` (raise it when its results change), ``settings`` and ``grid``, and ``rules`` where
    some settings do not go together (:class:`flipbench.plan.settings.Rule`). Settings with the name of a field of
    :class:`flipbench.train.config.TrainConfig` say how it is trained; ``plm`` names the PLM and ``backbone``, where
    there is one, the ID-based model, ``backbone_NAME`` its setting NAME; the others are keyword arguments of
    :meth:`model` and :meth:`collator`.

    Attributes:
        pretraining: registered name of the pretraining that it starts from, empty for none. Its settings are the
            method's too, under ``pretrain``, where a method may declare some of them again with other defaults.
        flavours: other defaults under a name that the setting ``flavour`` chooses.
    """

    version: ClassVar[int]
    settings: ClassVar[Settings]
    grid: ClassVar[Grid]
    pretraining: ClassVar[str] = ""
    flavours: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @staticmethod
    def model(context: "MethodContext", *_: Any, **settings: Any) -> "ClickModel":
        """The model as finetuning starts from it; new layers are drawn from torch's default generator, which is seeded.

        Args:
            context: the PLM and the ID-based model, pretrained where the method pretrains; loaded when asked for.
            settings: those that are not about training.
        """
        raise NotImplementedError

    @staticmethod
    def collator(context: "MethodContext", *_: Any, **settings: Any) -> "TextCollator | None":
        """What makes the rows' text; None for a model that reads none. The whole prompt, unless a subclass differs."""
        from flipbench.text.collator import PromptCollator

        return PromptCollator(context.tokens)

    @classmethod
    def scorer(cls) -> "Scorer":
        """How rows are scored: batch by batch, unless a subclass knows better."""
        from flipbench.train.finetune import predict

        return predict


class PretrainingMethod:
    """Base of the pretrainings. One run serves every method and finetuning that names the same one with equal settings.

    A subclass declares ``version`` and ``settings``; those with the name of a field of
    :class:`flipbench.train.config.TrainConfig`, and ``epochs``, say how it is trained, the others are keyword
    arguments of :meth:`model` and :meth:`make_batch`.

    Attributes:
        switches: settings that leave nothing to pretrain on where all of them are off; a method then starts without.
    """

    version: ClassVar[int]
    settings: ClassVar[Settings]
    grid: ClassVar[Grid] = {}
    switches: ClassVar[Sequence[str]] = ()

    @staticmethod
    def model(context: "MethodContext", ids: "Tensor", *_: Any, **settings: Any) -> "PretrainModel":
        """What is pretrained; new layers are drawn from torch's default generator, which is seeded.

        Args:
            context: the PLM and the ID-based model, as they are before any pretraining.
            ids: [N, F] of all rows to pretrain on.
            settings: those that are not about training.

        Raises:
            UserError: the PLM cannot read some rows whole.
        """
        raise NotImplementedError

    @staticmethod
    def make_batch(context: "MethodContext", ids: "Tensor", *_: Any, **settings: Any) -> "MakeBatch":
        """What makes its batches of the rows' ids [N, F]; all draws come from ``context.streams``."""
        raise NotImplementedError


class InspectionMethod:
    """Base of what can be measured of a pretraining; no label is read.

    Attributes:
        version: raised when figures change. settings: how much is looked at.
        pretrainings: registered names of those that it can measure. needs: their switches that must be on.
    """

    version: ClassVar[int]
    settings: ClassVar[Mapping[str, Value]]
    pretrainings: ClassVar[Sequence[str]]
    needs: ClassVar[Sequence[str]] = ()

    @staticmethod
    def measure(stage: "Stage", table: "Table", store: "Store", device: str) -> "tuple[dict[str, Any], pa.Table]":
        """The figures of a stage's pretraining, numbers all, and a small table that a picture of them is drawn from."""
        raise NotImplementedError
