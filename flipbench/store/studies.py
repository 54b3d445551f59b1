"""Searches as Optuna studies: the lasting record of every trial."""

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from flipbench.identity import key_of
from flipbench.plan.entries import Tune
from flipbench.plan.expand import Cell
from flipbench.plan.sampler import direction, distributions, optuna_trial
from flipbench.plan.search import Search
from flipbench.plan.suite import Suite
from flipbench.store.runs import Store


class Studies:
    """The searches of a suite, one study a cell, in ``RESULTS/studies/SUITE.journal``.

    A record for Optuna's own tools and for people. The run folders remain what decides, so a journal that is missing
    or damaged is written again from them.
    """

    def __init__(self, store: Store, suite: Suite, how: Tune) -> None:
        self.store, self.suite, self.how = store, suite, how
        self.path: Path = store.root / "studies" / f"{suite.suite}.journal"
        self.lock = FileLock(store.root / ".work" / f"study-{suite.suite}.lock")

    def record(self, cells: Iterable[Cell]) -> None:
        """Add each finished trial that its study lacks; raises OSError where the journal cannot be written."""
        Path(self.lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        with self.lock:
            for cell in cells:
                if cell.search:
                    study = self.study(cell)
                    there = {trial.user_attrs["key"] for trial in study.get_trials(deepcopy=False)}
                    for index, stage in enumerate(cell.trials):
                        if stage.key not in there and self.store.done(stage):
                            study.add_trial(self._finished(cell.search, index))

    def study(self, cell: Cell) -> optuna.Study:
        """The cell's study; another search space, data or protocol makes another one."""
        select = self.how.select
        axes = cell.search.axes if cell.search else {}
        space = key_of([{name: list(values) for name, values in axes.items()}, select, cell.trials[0].key])
        name = f"{cell.data.label}/{cell.method.label}/{self.suite.protocol}/{space[:8]}"
        how = direction(select)
        return optuna.create_study(study_name=name, storage=self._storage, direction=how, load_if_exists=True)

    def _finished(self, search: Search, index: int) -> optuna.trial.FrozenTrial:
        stage = search.trials[index]
        space = distributions(search.axes, ranges=self.how.search != "grid")
        figure = float(self.store.best(stage)[self.how.select])
        seconds = self.store.env(stage).get("seconds")
        return optuna_trial(search.points[index], figure, space, key=stage.key, index=index, seconds=seconds)

    @cached_property
    def _storage(self) -> JournalStorage:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and not _whole(self.path):
            self.path.unlink()
        lock: Any = self.lock  # the system drops it with its process; Optuna's own outlives a kill by half a minute
        return JournalStorage(JournalFileBackend(str(self.path), lock_obj=lock))


def _whole(path: Path) -> bool:
    """Whether every line of a journal was written to its end and reads."""
    content = path.read_bytes()
    try:
        for line in content.splitlines():  # Optuna passes over a damaged last one, until another is written after it
            json.loads(line)
        JournalStorage(JournalFileBackend(str(path)))
    except Exception:  # a damaged line raises whatever it happens to look like
        return False
    return not content or content.endswith(b"\n")
