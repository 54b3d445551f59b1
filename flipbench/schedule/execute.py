"""Running all that a suite still needs, here or on a cluster, and measuring what of it is not known to cost."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from flipbench.cost import calibration
from flipbench.cost.estimate import budget_of, expected, in_full
from flipbench.cost.plan_cost import PlanCost
from flipbench.errors import UserError, reason_of
from flipbench.interrupts import held_back
from flipbench.plan import registry
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.stage import Stage
from flipbench.plan.suite import Suite
from flipbench.schedule.devices import check_options, slots_of, usable
from flipbench.schedule.events import Event, Finished, Listener, Note, Planned
from flipbench.schedule.group import stack_size
from flipbench.store.code import ACCEPTED, RunCode, line_of
from flipbench.store.planning import plan_of
from flipbench.store.runs import Store

if TYPE_CHECKING:
    from flipbench.schedule.local import Pool
    from flipbench.schedule.ray import Cluster


@dataclass(frozen=True)
class RunOptions:
    """How a suite is run.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: a GPU where there is one.
        workers: stages at once; by default one a CPU core, or one on a GPU. A cluster's own resources say it there.
        backend: this machine, or a Ray cluster.
        address: of the cluster: ``auto``, ``HOST:PORT``, ``ray://HOST:PORT``.
        gpu_share: of a GPU that a stage on the cluster asks for.
        stall: seconds without progress after which a stage is ended.
        stack: how many seeds or grid points of one shape train as one program: a number, ``auto`` or ``off``.
        budget: ``90m``, ``8h``, ``2d``: more than that is refused.
        accept_code: whether methods whose code has changed since their runs are the same methods, and record so.
    """

    device: str = "auto"
    workers: int | None = None
    backend: Literal["local", "ray"] = "local"
    address: str | None = None
    gpu_share: float = 1.0
    stall: float = 7200.0
    stack: str = "auto"
    budget: str | None = None
    accept_code: bool = False

    def check(self) -> None:
        """Raises UserError where options are out of range, do not go together, or name a GPU that is not here.

        All that can be known before anything runs, whether anything is left to run or not.
        """
        check_options(self.device, self.workers)
        if self.budget:
            budget_of(self.budget)
        if not self.stall > 0:
            raise UserError(f"--stall {self.stall:g}: must be above 0")
        if not 0 < self.gpu_share <= 1:
            raise UserError(f"--gpu-share {self.gpu_share:g}: must be above 0 and at most 1")
        stack = stack_size(self.stack, "cpu")
        if self.backend == "ray" and self.workers is not None:
            raise UserError("--workers: the cluster's CPUs and GPUs say how many stages run at once (see --gpu-share)")
        if self.backend == "ray" and self.device.startswith("cuda:"):
            raise UserError(f"--device {self.device}: Ray chooses among the GPUs of a node; valid: auto, cpu, cuda")
        if self.backend == "ray" and stack > 1:
            raise UserError(f"--stack {self.stack}: needs --backend local; on a cluster every stage is a task alone")
        if self.backend == "local" and (self.address or self.gpu_share != 1):
            raise UserError(f"{'--address' if self.address else '--gpu-share'}: needs --backend ray")
        if self.backend == "local" and self.device.startswith("cuda"):
            usable(self.device)

    def pool(self, store: Store) -> "Pool | Cluster":
        """What runs the stages."""
        if self.backend == "ray":
            from flipbench.schedule.ray import Cluster

            return Cluster(store, self.address, self.device, gpu_share=self.gpu_share, stall=self.stall)
        from flipbench.schedule.local import Pool

        device = usable(self.device)
        slots = slots_of(device, self.workers)[1]
        return Pool(store, slots, device, stall=self.stall, stack=stack_size(self.stack, device))


def execute(suite: Suite, store: Store, options: RunOptions, tell: Listener) -> dict[str, str]:
    """Run all that a suite still needs and ``tell`` of it; returns a line on each stage that failed, by key.

    A search decides further stages, so the plan is made again until nothing new comes.

    Raises:
        UserError: more is expected than the budget, the device or cluster cannot be used, or finished runs are of other
            code than today's and it is not accepted.
    """
    options.check()
    failures: dict[str, str] = {}
    plan = plan_of(suite, store, to_run=True)
    _check_code(plan, store, options, tell)
    stages = plan.needed(store)
    record = _recorder(suite, store, tell)
    if not stages:
        record(plan.cells)
        return failures
    _refuse_retired(suite, stages)
    pool = options.pool(store)  # before anything is written: its options may be wrong
    store.prepare()

    def listen(event: Event) -> None:
        tell(event)
        if isinstance(event, Finished):
            record(cell for cell in plan.cells if any(trial.key == event.stage.key for trial in cell.trials))

    with pool:
        kind = slots_of(pool.device, None)[0]
        if options.budget:
            PlanCost.of(plan, store, kind, pool.workers).check(options.budget)
        while stages:
            record(plan.cells)
            seconds = {key: estimate.seconds for key, estimate in expected(stages, store, kind).items()}
            tell(Planned(f"{suite.suite} · {suite.protocol}", tuple(stages), seconds, pool.workers))
            ended = pool.run(stages, listen)
            failures |= {stage.key: _line(stage, ended, store) for stage in stages if stage.key in ended}
            plan = plan_of(suite, store)
            _check_code(plan, store, options, tell)  # what a search has chosen may have been run before
            stages = [stage for stage in plan.needed(store) if stage.key not in failures]
    return failures


def _check_code(plan: Plan, store: Store, options: RunOptions, tell: Listener) -> None:
    """Raises UserError where finished runs of a plan are of other code than today's, unless that is accepted."""
    code = RunCode(store)
    if not (changed := code.changed(plan.stages())):
        return
    if not options.accept_code:
        raise UserError(f"{plan.suite.place}{line_of(changed)}")
    store.prepare()
    code.accept(changed)
    tell(Note(f"{store.root / ACCEPTED}: accepted as the same code: {', '.join(map(str, changed))}"))


def _line(stage: Stage, reasons: Mapping[str, str], store: Store) -> str:
    """What to say of a failed stage: the reason and, where it was run, where to look."""
    was_run = not any(parent.key in reasons for parent in stage.parents.values())
    evidence = store.evidence(stage) if was_run else ""
    return f"{stage}: {reasons[stage.key]}" + (f" ({evidence})" if evidence else "")


def _refuse_retired(suite: Suite, stages: Iterable[Stage]) -> None:
    """Raises UserError where a stage is of a version of the code that is gone."""
    methods = {stage.method for stage in stages}
    for name, version in suite.versions.items():
        if name in methods and version != (now := registry.version_of(name)):
            raise UserError(
                f"{suite.place}versions: its runs were made with version {version} of '{name}', which is at {now}: "
                "they can be reported, but no further ones be made; without 'versions' the suite runs anew"
            )


def _recorder(suite: Suite, store: Store, tell: Listener) -> Callable[[Iterable[Cell]], None]:
    """What enters the finished trials of cells in their studies; nothing without a search.

    A study that cannot be written stops no training: the next command makes up for it from the run folders.
    """
    if suite.tune is None:
        return lambda cells: None
    from flipbench.store.studies import Studies

    studies = Studies(store, suite, suite.tune)

    def record(cells: Iterable[Cell]) -> None:
        try:
            studies.record(cells)
        except OSError as error:
            tell(Note(f"{studies.path}: not written ({error.strerror}); the next run will"))

    return record


def measure(plan: Plan, store: Store, device: str, slots: int, tell: Listener) -> None:
    """Calibrate the kinds of stage of a plan that neither finished runs nor earlier calibrations tell of.

    Args:
        device: torch device. slots: kinds measured at once.
    """
    stages, kind = in_full(plan).needed(store), slots_of(device, None)[0]
    known = expected(stages, store, kind)
    kinds = calibration.representatives(s for s in stages if s.key not in known or known[s.key].source == "alike")
    if not kinds:
        return
    with held_back():
        from flipbench.cost import measure as calibrate  # torch

    for of_kind, rates in calibrate.of_each(kinds, partial(calibrate.measure, device=device), slots):
        if isinstance(rates, Exception):
            line = reason_of(rates)
        else:
            calibration.save(kind, {of_kind: rates})  # at once, so that a stop loses nothing
            line = f"{1000 * rates.step:.1f} ms a step, {rates.memory_mb:.0f} MB, from {rates.steps} steps"
        tell(Note(f"calibrate {kinds[of_kind]}: {line}"))
