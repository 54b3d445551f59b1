"""What a whole plan will cost: time, memory, and whether a budget is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flipbench.cost.estimate import Estimate, budget_of, duration, expected, finish, in_full
from flipbench.errors import UserError
from flipbench.plan.expand import Plan
from flipbench.plan.stage import Stage
from flipbench.store.runs import Store


@dataclass(frozen=True)
class PlanCost:
    """A plan with what is expected of it.

    Attributes:
        full: the plan with what follows once its searches have chosen.
        to_run: its stages still to run, by the store. estimates: of those, by key, where something is known.
        slots: stages that run at once.
        not_prepared: a line for each data set that is left out of the plan: how to prepare it.
    """

    plan: Plan
    full: Plan
    store: Store
    to_run: list[Stage]
    estimates: Mapping[str, Estimate]
    slots: int
    not_prepared: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan, store: Store, device: str, slots: int, not_prepared: tuple[str, ...] = ()) -> "PlanCost":
        """The cost on a kind of device, ``cpu`` or ``cuda``."""
        full = in_full(plan)
        to_run = full.needed(store)
        return cls(plan, full, store, to_run, expected(to_run, store, device), slots, not_prepared)

    @property
    def unknown(self) -> list[Stage]:
        """The stages to run of which nothing is known."""
        return [stage for stage in self.to_run if stage.key not in self.estimates]

    @property
    def at_most(self) -> bool:
        """Whether early stopping may make it less."""
        return any(estimate.at_most for estimate in self.estimates.values())

    @property
    def work_seconds(self) -> float:
        """Of all slots together, for the stages that something is known of."""
        return sum(estimate.seconds for estimate in self.estimates.values())

    @property
    def finish_seconds(self) -> float:
        """Until the last of the stages is done that something is known of."""
        known = [stage for stage in self.to_run if stage.key in self.estimates]
        return finish(known, {key: estimate.seconds for key, estimate in self.estimates.items()}, self.slots)

    @property
    def memory_mb(self) -> float | None:
        """Of all slots together, should their largest stages meet; None where nothing is known."""
        sizes = sorted((e.memory_mb for e in self.estimates.values() if e.memory_mb is not None), reverse=True)
        return sum(sizes[: self.slots]) if sizes else None

    def check(self, budget: str) -> None:
        """Raises UserError where more time than a budget such as ``8h`` is expected, or where that is not known."""
        seconds = budget_of(budget)
        if self.not_prepared:
            raise UserError(f"--budget {budget}: nothing is known of what is not planned: {self.not_prepared[0]}")
        if self.unknown:
            raise UserError(
                f"--budget {budget}: nothing is known of the cost of {counted(len(self.unknown), 'stage')} "
                f"({self.unknown[0]}); `flipbench plan {self.plan.suite.suite} --calibrate` measures it"
            )
        if self.finish_seconds > seconds:
            expectation = about(self.finish_seconds, self.at_most)
            raise UserError(f"--budget {budget}: {expectation} expected on {counted(self.slots, 'slot')}")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        suite, needed = self.plan.suite, len(self.plan.needed(self.store))
        return {
            "suite": suite.suite,
            "protocol": suite.protocol,
            "slots": self.slots,
            "stages": [self._stage(stage) for stage in self.plan.stages()],
            "to_run": needed,
            "foreseen": len(self.to_run) - needed,
            "search_pending": self.plan.choosing,
            "unknown": len(self.unknown),
            "expected_seconds": None if self.unknown else self.finish_seconds,
            "work_seconds": None if self.unknown else self.work_seconds,
            "at_most": self.at_most,
            "memory_mb": self.memory_mb,
            "not_prepared": list(self.not_prepared),
        }

    def _stage(self, stage: Stage) -> dict[str, Any]:
        estimate = self.estimates.get(stage.key)
        return {
            "key": stage.key,
            **{name: getattr(stage, name) for name in ("role", "dataset", "method", "seed")},
            "done": self.store.done(stage),
            "expected_seconds": estimate and estimate.seconds,
            **{name: getattr(estimate, name, None) for name in ("at_most", "memory_mb", "device_memory_mb")},
            "known_from": estimate and estimate.source,
        }


def about(seconds: float, at_most: bool) -> str:
    """``about 7 min``, or ``at most 7 min``."""
    return f"{'at most' if at_most else 'about'} {duration(seconds)}"


def counted(count: int, what: str) -> str:
    """``1 slot``, ``2 slots``."""
    return f"{count} {what}{'' if count == 1 else 's'}"
