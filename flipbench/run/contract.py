"""The contract of an ID-based model as a whole: what ``flipbench check model NAME`` and a model's own test go through.

It is tried on planted data, on one CPU thread, at the declared settings, with a learning rate and batches that show in
a few steps whether anything is learnt.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.models import contract
from flipbench.models.contract import ContractError
from flipbench.models.first_nan import first_nan
from flipbench.models.id_model import IDModel
from flipbench.places import Source
from flipbench.plan.settings import TRAINING, TRAINING_RULES, Rules
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import TrainConfig
from flipbench.train.history import Epoch
from flipbench.train.id_models import fit
from flipbench.train.rng import Streams, make_deterministic
from flipbench.train.trainer import DivergedError
from flipbench.train.weights import weights_sha256

DATA = "planted-tiny"
ROWS, FEW_ROWS = 1920, 256
"""To learn from; to see whether two trainings end alike."""
EPOCHS, BATCH, RATE = 2, 64, 3e-3
MOST_EPOCHS = 20
"""In which it is to have learnt more than a constant knows; it is trained no longer than that takes."""
STEPS = 10
"""In one of which every parameter has a gradient: a layer that starts at zero passes none on in the first."""


class _Killed(BaseException):
    """Ends a training as a kill would."""


@dataclass
class Subject:
    """A model's class and the settings that it is tried at.

    Attributes:
        settings: declared values by name, the training's among them. rules: what must hold between them.
    """

    cls: type[IDModel]
    settings: Mapping[str, Any]
    rules: Rules

    @classmethod
    def of(cls, model: type[IDModel], **changes: Any) -> "Subject":
        """At the declared settings, or with some of them changed."""
        make_deterministic(1)
        declared = {name: setting.value for name, setting in {**TRAINING, **model.settings}.items()}  # type: ignore[union-attr]
        return cls(model, {**declared, **changes}, [*TRAINING_RULES, *getattr(model, "rules", ())])

    @property
    def own_settings(self) -> dict[str, Any]:
        """Those that are the model's, not its training's."""
        own = TrainConfig.split(self.settings)[1]
        return {name: value for name, value in own.items() if name != "oov"}

    @property
    def config(self) -> TrainConfig:
        return replace(TrainConfig.split(self.settings)[0], learning_rate=RATE, batch_size=BATCH, precision="float32")

    @property
    def source(self) -> Source:
        return Source(f"{self.cls.__module__}:{self.cls.__qualname__}")

    @cached_property
    def rows(self) -> split.Rows:
        """Training rows of :data:`DATA`."""
        return split.training_rows(self._table, "chronological").take(np.arange(self._training) < ROWS)

    @property
    def ids(self) -> Tensor:
        """[BATCH, F] int64."""
        return torch.from_numpy(self.rows.ids[:BATCH]).long()

    @property
    def labels(self) -> Tensor:
        return torch.from_numpy(self.rows.labels[:BATCH]).float()

    def build(self, seed: int = 0) -> IDModel:
        """A model with fresh weights."""
        torch.manual_seed(Streams(seed).seed_of("init"))
        return self.cls(self._table.num_features, len(self._table.fields), **self.own_settings)

    def train(
        self,
        model: IDModel | None = None,
        *,
        rows: int = FEW_ROWS,
        epochs: int = EPOCHS,
        after_epoch: Callable[[Epoch], bool] = lambda _: False,
        checkpoint: Checkpoint | None = None,
    ) -> IDModel:
        """A model trained on the first rows, from its start unless one is given, until ``after_epoch`` wants no more.

        Raises:
            DivergedError: a loss or a weight is not finite.
        """

        def progress(_: int, share: float, last: Epoch | None) -> None:
            if share == 1.0 and last and after_epoch(last):
                raise _Killed

        few = self.rows.take(np.arange(len(self.rows)) < rows)
        config = replace(self.config, max_epochs=epochs, embedding_l2=0.0)
        model = self.build() if model is None else model
        with contextlib.suppress(_Killed):
            fit(model, few, config, Streams(0), checkpoint=checkpoint, progress=progress)
        return model

    @cached_property
    def constant(self) -> float:
        """The loss of the share of clicks on all rows."""
        share = float(self.rows.labels.mean())
        return -share * math.log(share) - (1 - share) * math.log(1 - share)

    def learn(self) -> tuple[IDModel, list[float]]:
        """A model trained on all rows until it knows more than a constant, and each epoch's loss; raises as `train`."""
        losses: list[float] = []

        def knows_more(epoch: Epoch) -> bool:
            losses.append(epoch.figures["loss"] or 0.0)
            return losses[-1] < min(losses[0], self.constant)

        return self.train(rows=ROWS, epochs=MOST_EPOCHS, after_epoch=knows_more), losses

    @cached_property
    def learnt(self) -> tuple[IDModel, list[float]]:
        """What :meth:`learn` gives, once."""
        return self.learn()

    @cached_property
    def undisturbed(self) -> str:
        """The digest of the weights after a training on :data:`FEW_ROWS`."""
        return weights_sha256(self.train().state_dict())

    @cached_property
    def _table(self) -> Any:
        return open_table(DATA)

    @property
    def _training(self) -> int:
        return split.training_size(len(self._table))


def _settings(subject: Subject) -> str:
    contract.check_constructor(subject.cls, {n: subject.cls.settings[n] for n in subject.own_settings})
    count = sum(p.numel() for p in subject.build().parameters())
    return f"{len(subject.own_settings)} declared, taken by the constructor; {count:,} parameters"


def _forward(subject: Subject) -> str:
    model = subject.build()
    try:
        with torch.no_grad():
            contract.check_forward(model, subject.ids)
    except FloatingPointError as error:
        raise _located(error, lambda: model(subject.ids), subject) from error
    contract.check_ids(model, subject.ids)
    return f"v [N, {model.representation_dim}] float32, logits [N], of int32 and int64 ids alike"


def _gradients(subject: Subject) -> str:
    model = subject.build()
    contract.check_gradients(model, subject.ids, subject.labels, STEPS)
    return f"reach all {sum(1 for _ in model.parameters())} parameter tensors"


def _learns(subject: Subject) -> str:
    try:
        _, losses = subject.learnt
    except DivergedError as error:
        raise _located(error, subject.learn, subject) from error
    first, last = f"loss {losses[0]:.4f} → {losses[-1]:.4f} in {len(losses)} epochs", losses[-1]
    course = f"{first} of {ROWS:,} planted rows; a constant has {subject.constant:.4f}"
    if not last < min(losses[0], subject.constant):
        raise ContractError(f"does not learn: {course}", "represent")
    return course


def _deterministic(subject: Subject) -> str:
    if weights_sha256(subject.build().state_dict()) != weights_sha256(subject.build().state_dict()):
        raise ContractError(
            "two starts from one seed differ: random numbers are to come from torch's default generator", "__init__"
        )
    if weights_sha256(subject.train().state_dict()) != subject.undisturbed:
        raise ContractError(
            "two trainings from one seed end with other bits: random numbers are to come from torch's default "
            "generator, and nothing is to last beyond a model",
            "represent",
        )
    return f"two trainings from one seed end with the same bits, {subject.undisturbed[:12]}"


def _resumes(subject: Subject) -> str:
    with TemporaryDirectory(prefix="flipbench-") as folder:
        path = Path(folder) / "checkpoint.pt"
        subject.train(checkpoint=Checkpoint(path, "contract"), after_epoch=lambda _: True)
        resumed = subject.train(subject.build(seed=1), checkpoint=Checkpoint(path, "contract"))
    if weights_sha256(resumed.state_dict()) != subject.undisturbed:
        raise ContractError(
            "killed after an epoch and resumed it ends with other bits: what a model keeps outside its parameters and "
            "buffers is in no checkpoint",
            "represent",
        )
    return "killed after its first epoch and resumed it ends with the same bits"


def _rows(subject: Subject) -> str:
    model, _ = subject.learnt
    contract.check_rows(model, subject.ids)
    problems = (rule.problem({**subject.settings, "batch_size": 1}) for rule in subject.rules)
    refused = any(problems)
    if not refused and (error := contract.trains_on_one_row(subject.build(), subject.ids, subject.labels)):
        raise ContractError(
            "cannot train on a batch of one row, and no rule says so (rules = [AtLeast('batch_size', 2, 'batch norm "
            f"needs rows to compare')]): {error}",
        ) from error
    return f"scored alone as beside others; {'a rule refuses batch_size 1' if refused else 'trains on one row'}"


def _meta(subject: Subject) -> str:
    contract.check_meta(subject.build, subject.ids)
    return "built and called on torch's device 'meta', where tensors have shapes and no values"


def _captured(subject: Subject) -> str:
    contract.check_captured(subject.build(), subject.ids, subject.labels)
    return "a training step is one graph (make_fx): nothing waits for a value on the host, no shape depends on one"


class Check(NamedTuple):
    """A part of the contract: ``of`` says what was found in order, or raises; ``needs`` others that must be."""

    of: Callable[[Subject], str]
    needs: tuple[str, ...] = ()


CHECKS: Mapping[str, Check] = {
    "settings": Check(_settings),
    "forward": Check(_forward, ("settings",)),
    "gradients": Check(_gradients, ("forward",)),
    "learns": Check(_learns, ("forward",)),
    "deterministic": Check(_deterministic, ("learns",)),
    "resumes": Check(_resumes, ("deterministic",)),
    "rows": Check(_rows, ("learns",)),
    "meta": Check(_meta, ("forward",)),
    "captured": Check(_captured, ("meta", "resumes")),
}
"""By name, in order."""


def check(name: str, subject: Subject) -> str:
    """Try one part of the contract; returns what was found in order.

    Raises:
        ContractError: the model does not hold it.
        Exception: whatever the model raises.
    """
    return CHECKS[name].of(subject)


def _located(error: Exception, act: Callable[[], object], subject: Subject) -> Exception:
    """The same error, which also says what first made a number none, where that is found."""
    what, place = first_nan(act, subject.source)
    return ContractError(f"{error}; {what}", place=place) if place else error
