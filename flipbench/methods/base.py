"""What a method with a PLM brings: its model, what it reads, and what it is pretrained with. Imports no torch.

``flipbench.plm_methods`` (a PLM alone) and ``flipbench.hybrid_methods`` (a PLM and an ID-based model) are the groups of
entry points that :class:`PLMMethod` classes are registered in; ``flipbench.pretrainings`` that of
:class:`PretrainingMethod`. Training and scoring are the engine's, the same for all of them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flipbench.plan.settings import Grid, Settings, Value

if TYPE_CHECKING:
    from torch import Tensor

    from flipbench.data.split import Rows
    from flipbench.data.table import Table
    from flipbench.methods.context import Parts
    from flipbench.models.click_model import ClickModel
    from flipbench.plan.stage import Stage
    from flipbench.run.tasks import PretrainTask
    from flipbench.text.reader import Reader
    from flipbench.train.finetune import Scores
    from flipbench.train.pretrain import Draw, PretrainModel


class PLMMethod:
    """Base of the methods with a PLM.

    A subclass declares ``version`` (raise it when its results change), ``settings`` and ``grid``, and ``rules`` where
    some settings do not go together (:class:`flipbench.plan.settings.Rule`). Settings with the
    name of a field of :class:`flipbench.train.finetune.FinetuneRecipe` say how it is trained; ``plm`` names the PLM
    and ``backbone``, where there is one, the ID-based model; the others are keyword arguments of :meth:`model` and
    :meth:`reader`.

    Attributes:
        pretraining: registered name of the pretraining that it starts from, empty for none. Its settings are the
            method's too, as ``pretrain.NAME``; a method may declare some of them again, with other defaults.
        flavours: other defaults under a name that the setting ``flavour`` chooses.
    """

    version: ClassVar[int]
    settings: ClassVar[Settings]
    grid: ClassVar[Grid]
    pretraining: ClassVar[str] = ""
    flavours: ClassVar[Mapping[str, Mapping[str, Value]]] = {}

    @staticmethod
    def model(parts: "Parts", *_: Any, **own: Any) -> "ClickModel":
        """The model as finetuning starts from it; new layers are drawn from torch's default generator, which is seeded.

        Args:
            parts: the PLM and the ID-based model, pretrained where the method pretrains; loaded when asked for.
            own: the settings that are no part of the recipe.
        """
        raise NotImplementedError

    @staticmethod
    def reader(parts: "Parts", *_: Any, **own: Any) -> "Reader | None":
        """What makes the rows' text; None for a model that reads none. The whole prompt, unless a subclass differs."""
        from flipbench.text.reader import Prompts

        return Prompts(parts.tokens)

    @classmethod
    def scores(cls) -> "Scores":
        """How rows are scored: batch by batch, unless a subclass knows better."""
        from flipbench.train.finetune import predict

        return predict


class PretrainingMethod:
    """Base of the pretrainings. One run serves every method and finetuning that names the same one with equal settings.

    A subclass declares ``version`` and ``settings``; those with the name of a field of
    :class:`flipbench.train.pretrain.PretrainRecipe` say how it is trained, the others are keyword arguments of
    :meth:`model` and :meth:`draw`.
    """

    version: ClassVar[int]
    settings: ClassVar[Settings]
    grid: ClassVar[Grid] = {}

    @staticmethod
    def model(parts: "Parts", ids: "Tensor", *_: Any, **own: Any) -> "PretrainModel":
        """What is pretrained; new layers are drawn from torch's default generator, which is seeded.

        Args:
            parts: the PLM and the ID-based model, as they are before any pretraining.
            ids: [N, F] of all rows to pretrain on.
            own: the settings that are no part of the recipe.

        Raises:
            UserError: the PLM cannot read some rows whole.
        """
        raise NotImplementedError

    @staticmethod
    def draw(parts: "Parts", *_: Any, **own: Any) -> "Draw":
        """What makes its batches; all draws come from ``parts.streams``."""
        raise NotImplementedError

    @classmethod
    def task(cls, stage: "Stage", table: "Table", rows: "Rows", device: str) -> "PretrainTask":
        """A stage's run of it on the training rows, whose labels it does not read."""
        from flipbench.run.plm_tasks import MethodPretrainTask

        return MethodPretrainTask(cls, stage, table, rows, device)
