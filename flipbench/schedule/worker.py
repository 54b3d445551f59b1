"""What runs a stage: the code of a worker process, of this machine's pool or of a cluster's task."""

import contextlib
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from flipbench.errors import described, reason_of
from flipbench.plan.stage import Stage
from flipbench.store.runs import Store

CLAIM_POLL_SECONDS = 0.5
"""Between tries to claim a stage that another command holds."""

THREADS = 1
"""CPU threads of a stage: float sums depend on how many there are, and two stages side by side are faster."""

MAX_DEATHS = 2
"""Processes that may die of one stage (ended for its memory, say) before it counts as failed."""

Outcome = dict[str, Any] | Exception
"""A stage's metrics, or what it died of."""


def run_when_free(
    stage: Stage,
    store: Store,
    device: str,
    tick: Callable[[dict[str, Any]], None],
    waiting: Callable[[], object],
) -> dict[str, Any]:
    """Run a stage once its claim can be had, and return its metrics; ``waiting`` is called while another holds it.

    Raises:
        Exception: whatever the stage died of, recorded in the store.
    """
    with contextlib.ExitStack() as claim:
        try:
            from flipbench.run.stages import run_stage  # torch, which may be broken

            while not claim.enter_context(store.claim(stage)):
                claim.close()
                waiting()
                time.sleep(CLAIM_POLL_SECONDS)
        except Exception as error:  # there is no stage yet that would record it
            with contextlib.suppress(OSError):
                store.fail(stage, described(error), "".join(traceback.format_exception(error)), {})
            raise
        return run_stage(stage, store, device, THREADS, tick)


@dataclass(frozen=True)
class Worker:
    """One slot's process: stages in, signs of life and results out, until the pipe closes.

    Messages are (kind, key of the stage or None, body): ``tick`` with a position, ``waiting``, ``note`` with a line,
    ``done`` with metrics, ``failed`` with a reason.
    """

    pipe: Connection
    store: Store
    device: str

    def serve(self) -> None:
        """The process's whole life."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a checkpoint survives its terminate()
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                stages: list[Stage] = self.pipe.recv()
                for stage in self._stacked(stages) if len(stages) > 1 else stages:
                    self._ended(stage, self._run(stage))

    def _run(self, stage: Stage) -> Outcome:
        try:
            return run_when_free(stage, self.store, self.device, self._tick, lambda: self._send("waiting"))
        except Exception as error:  # a stage's failure is a result of its own; the slot goes on
            return error

    def _stacked(self, stages: list[Stage]) -> Iterator[Stage]:
        """Train together those of the stages that nobody else has; yields those still to be run one by one."""
        from flipbench.run.stack import run_stack

        ended: set[str] = set()

        def end(stage: Stage, outcome: Outcome) -> None:
            ended.add(stage.key)
            self._ended(stage, outcome)

        with contextlib.ExitStack() as claims:
            held = [stage for stage in stages if claims.enter_context(self.store.claim(stage))]
            to_train = [stage for stage in held if not self.store.done(stage)]
            try:
                if to_train:
                    run_stack(to_train, self.store, self.device, THREADS, self._tick, end)
            except Exception as error:  # too little memory for all of them, a model that cannot be stacked
                self._send("note", body=f"{len(to_train)} x {to_train[0]}: not stacked ({reason_of(error)})")
        yield from (stage for stage in stages if stage.key not in ended)

    def _ended(self, stage: Stage, outcome: Outcome) -> None:
        if isinstance(outcome, Exception):
            self._send("failed", stage.key, reason_of(outcome))
        else:
            self._send("done", stage.key, outcome)

    def _tick(self, position: dict[str, Any]) -> None:
        self._send("tick", body=position)

    def _send(self, kind: str, key: str | None = None, body: Any = None) -> None:
        try:
            self.pipe.send((kind, key, body))
        except ConnectionError:  # the parent is gone: no failure of the stage, which leaves its checkpoint
            raise SystemExit from None
