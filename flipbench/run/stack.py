"""Several trainings of one ID-based model as one batched program: other seeds, or other points of a grid.

The members' weights are rows of shared tensors, and the model runs once over all of them (``torch.func``). All else
stays a member's own: start, order of rows, Adam state, early stopping, checkpoint, run folder. Results are those of
separate training up to the order of float sums, and every member can go on alone from its checkpoint.

Which stages are trained so is for :func:`flipbench.schedule.group.stack_signature` to say, by their settings.
"""

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from flipbench.data.split import Rows
from flipbench.models.id_model import IDModel
from flipbench.models.out_of_vocabulary import OutOfVocabulary
from flipbench.plan.stage import Stage
from flipbench.run.stages import Fit, StageRun, Tick
from flipbench.run.tasks import IDTask
from flipbench.store.runs import Store
from flipbench.train.checkpoint import Checkpoint
from flipbench.train.config import TrainConfig
from flipbench.train.history import Fitted, Schedule, batch_bounds
from flipbench.train.id_models import adam, click_metrics, predict
from flipbench.train.rng import Streams, make_deterministic
from flipbench.train.row_adam import RowAdam
from flipbench.train.trainer import PROGRESS_SECONDS, DivergedError, Progress, Training

Ended = Callable[[Stage, dict[str, Any] | Exception], None]
"""Called with a stage that is over: its metrics, or what it died of (recorded in the store already)."""


@dataclass
class Member:
    """One training of a stack; ``config.batch_size`` is the same for all, ``config.precision`` is float32."""

    model: IDModel
    config: TrainConfig
    streams: Streams
    checkpoint: Checkpoint | None = None
    progress: Progress | None = None
    rate_factors: Sequence[float] = ()


Left = tuple[int, Fitted | DivergedError, float]
"""A member that left the stack: its index, what it found or died of, its share of the time in seconds."""


def fit_stack(
    members: Sequence[Member], train: Rows, *, valid: Rows | None = None, device: torch.device | str = "cpu"
) -> Iterator[Left]:
    """Train the models in place, as :func:`flipbench.train.id_models.fit` would one by one.

    Yields each member as soon as it is over: its best weights are in its model, and the others go on without it.
    Members whose checkpoints are of different steps are stacked with those of their own step.
    """
    device = torch.device(device)
    ids, labels = torch.from_numpy(train.ids).to(device), torch.from_numpy(train.labels).to(device).float()
    trained = [_Trained(index, member, len(train), valid, device) for index, member in enumerate(members)]
    for _, level in groupby(sorted(trained, key=_Trained.position), key=_Trained.position):
        yield from _train_level(list(level), ids, labels)


def run_stack(
    stages: Sequence[Stage], store: Store, device: str, threads: int, tick: Tick | None, ended: Ended
) -> None:
    """Run stages of one :func:`flipbench.schedule.group.stack_signature` to their folders; ``ended`` hears of each.

    Raises:
        Exception: what the stack as a whole died of: memory, or a model that cannot be stacked. Stages that ``ended``
            did not hear of are as they were, or at their last checkpoint: they can be run one by one.
    """
    make_deterministic(threads)
    with ExitStack() as open_runs:
        runs = [open_runs.enter_context(StageRun(stage, store, device, threads)) for stage in stages]
        fits = [Fit(run) for run in runs]
        members = [_member(fit, tick) for fit in fits]
        for index, outcome, seconds in fit_stack(members, fits[0].train, valid=fits[0].valid, device=device):
            run = runs[index]
            try:
                ended(run.stage, _close(run, fits[index], outcome, seconds, len(stages)))
            except Exception as error:
                ended(run.stage, error)


def _member(fit: Fit, tick: Tick | None) -> Member:
    """What a stage starts from.

    Raises:
        TypeError: it cannot be stacked, by its modules, whatever its settings are called.
    """
    stage, task, model = fit.run.stage, fit.task, fit.model
    if not (isinstance(task, IDTask) and isinstance(model, IDModel)):
        raise TypeError(f"{stage.method} is no ID-based model")
    for module in model.modules():
        if isinstance(module, _BatchNorm | OutOfVocabulary) or (isinstance(module, _DropoutNd) and module.p > 0):
            raise TypeError(f"{stage.method} has {type(module).__name__}")
    config = replace(task.config, max_epochs=fit.epochs)
    progress = fit.run.progress(fit.epochs, tick)
    return Member(model, config, Streams(stage.seed), fit.run.checkpoint, progress, fit.rate_factors)


def _close(run: StageRun, fit: Fit, outcome: Fitted | DivergedError, seconds: float, members: int) -> dict[str, Any]:
    """A stage's run folder, or the record of its failure, which is raised again."""
    try:
        if isinstance(outcome, DivergedError):
            raise outcome
        return run.done(fit.result(outcome), seconds, stacked=members)
    except Exception as error:
        run.failed(error, seconds, stacked=members)
        raise


class _Trained:
    """A member and where its training stands."""

    def __init__(self, index: int, member: Member, rows: int, valid: Rows | None, device: torch.device) -> None:
        self.index, self.member, self.seconds = index, member, 0.0
        if member.checkpoint:
            member.checkpoint.spent = lambda: self.seconds
        model, config = member.model.to(device), member.config
        optimizer = adam(model, config)
        if isinstance(optimizer, RowAdam):
            raise TypeError(f"{type(optimizer).__name__} does not work element by element")
        self.training = Training(
            model,
            optimizer,
            Schedule.of(config, rows, rate_factors=member.rate_factors),
            device,
            measure=lambda: click_metrics(valid, None if valid is None else predict(model, valid, device)),
            checkpoint=member.checkpoint,
        )

    def position(self) -> tuple[int, int]:
        return self.training.epoch, self.training.step

    def order(self) -> Tensor:
        """The rows of its epoch [n], as :func:`flipbench.train.trainer.train` orders them."""
        order = self.member.streams.generator("order", self.training.epoch)
        return torch.randperm(self.training.schedule.rows, generator=order)

    def close_epoch(self) -> None:
        self.tell(self.training.close_epoch().epoch, 1.0)

    def tell(self, epoch: int, share: float) -> None:
        if self.member.progress:
            self.member.progress(epoch, share, self.training.fitted.last)


def _train_level(running: list[_Trained], ids: Tensor, labels: Tensor) -> Iterator[Left]:
    """Train members that stand at the same step until the last of them is over."""
    schedule = running[0].training.schedule
    bounds = batch_bounds(schedule.rows, schedule.batch_size)
    while running:
        for member in running:
            if member.training.finished:
                yield member.index, member.training.finish(), member.seconds
        if running := [member for member in running if not member.training.finished]:
            diverged = _train_epoch(running, bounds, ids, labels)
            for member in running:
                if error := diverged.get(member.index):
                    yield member.index, error, member.seconds
            running = [member for member in running if member.index not in diverged]


def _train_epoch(
    running: list[_Trained], bounds: list[tuple[int, int]], ids: Tensor, labels: Tensor
) -> dict[int, DivergedError]:
    """Train from where the members stand to the end of the epoch, or until some diverge: those, by index."""
    started, reported = time.perf_counter(), time.monotonic()
    for member in running:
        member.training.start_epoch()
    stack = _Stack([member.training for member in running])
    first = running[0]
    orders = torch.stack([member.order() for member in running]).to(ids.device)
    diverged: dict[int, DivergedError] = {}
    for step in range(first.training.step, len(bounds)):
        rows = orders[:, slice(*bounds[step])]
        stack.step(ids[rows], labels[rows])
        for member in running:
            member.training.step = step + 1
        if first.member.checkpoint and first.member.checkpoint.due():
            started = _share(running, started)
            diverged = _each(running, lambda member: member.training.save())
            if diverged:
                break
        if time.monotonic() - reported >= PROGRESS_SECONDS:
            reported = time.monotonic()
            first.tell(first.training.epoch, first.training.step / len(bounds))
    else:
        started = _share(running, started)
        diverged = _each(running, _Trained.close_epoch)
    _share(running, started)
    return diverged


def _share(running: list[_Trained], since: float) -> float:
    """Divide the time since then among the members, whose checkpoints hold it; returns now."""
    now = time.perf_counter()
    for member in running:
        member.seconds += (now - since) / len(running)
    return now


def _each(running: list[_Trained], act: Callable[[_Trained], None]) -> dict[int, DivergedError]:
    """Do something with every member; returns those that turned out to have diverged, by index."""
    diverged = {}
    for member in running:
        try:
            act(member)
        except DivergedError as error:
            diverged[member.index] = error
    return diverged


class _Stack:
    """Models whose parameters and buffers are rows of shared tensors, as are the losses, and one Adam for all of them.

    Adam works element by element: over all rows of equal settings at once it does what each model's own would do, on
    the same state.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        models = [training.model for training in trainings]
        states = [model.state_dict() for model in models]
        self.shared = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        self.weights: list[tuple[Tensor, list[nn.Parameter]]] = []
        for name, tensors in _by_name([dict(model.named_parameters()) for model in models]):
            self.weights.append((self.shared[name].requires_grad_(), tensors))
        for name, tensors in _by_name([model.state_dict(keep_vars=True) for model in models]):
            for tensor, row in zip(tensors, self.shared[name].detach(), strict=True):
                tensor.data = row
        none = torch.zeros((), dtype=torch.float64, device=next(iter(self.shared.values())).device)
        self.totals = torch.stack([training.sums.get("loss", none) for training in trainings])
        self.trainings = trainings
        for training, row in zip(trainings, self.totals, strict=True):
            training.sums["loss"] = row
        model = copy.deepcopy(models[0]).train()
        self.logits = vmap(lambda weights, ids: functional_call(model, weights, (ids,)), randomness="different")
        self.optimizer = _merged([training.optimizer for training in trainings])

    def step(self, ids: Tensor, labels: Tensor) -> None:
        """One step of every model on its batch, ids [S, b, F] and labels [S, b] float32."""
        with sdpa_kernel(SDPBackend.MATH):  # the CPU's fused attention would go member by member
            logits = self.logits(self.shared, ids).float()
        losses = binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
        losses.sum().backward()  # type: ignore[no-untyped-call]  # no loss depends on another model's weights
        for shared, weights in self.weights:
            if shared.grad is not None:
                for weight, gradient in zip(weights, shared.grad.unbind(), strict=True):
                    weight.grad = gradient
                shared.grad = None
        self.optimizer.step()
        self.totals += losses.detach() * labels.shape[1]
        for training in self.trainings:
            training.rows += labels.shape[1]


def _by_name(states: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    for name in states[0]:
        yield name, [each[name] for each in states]


def _merged(optimizers: Sequence[torch.optim.Optimizer]) -> torch.optim.Adam:
    """One Adam for the parameters of several, sharing their state: what it changes is changed in theirs."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            groups[group["lr"], group["weight_decay"]] += group["params"]
    whole = [{"params": weights, "lr": rate, "weight_decay": decay} for (rate, decay), weights in groups.items()]
    merged = torch.optim.Adam(whole, fused=True)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            merged.state.update({weight: optimizer.state[weight] for weight in group["params"]})
    return merged
