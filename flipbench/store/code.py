"""Finished runs beside today's code: which methods were changed since under one version, or accepted as the same.

A run records the digest of its methods' code (:mod:`flipbench.plan.code`) in ``env.json``; runs from before there was
one do not, and count as unchanged. ``RESULTS/code.jsonl`` holds what a user has said of digests that differ, a line
each: ``{"method": NAME, "same": [DIGEST, DIGEST], "version": 1}`` says that these are one method, so that runs of
either are results of it.
"""

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from flipbench.atomic import replacing
from flipbench.errors import DamagedError, UserError
from flipbench.plan.code import code_of, methods_of
from flipbench.plan.registry import Declaration, Inspection
from flipbench.plan.stage import Stage
from flipbench.store.runs import Store

ACCEPTED = "code.jsonl"
"""In a results folder: which digests a user accepts as the same method."""


@dataclass(frozen=True)
class RecordedCode:
    """What finished runs of a method's present version were made with: ``runs`` counts them by digest."""

    declared: Declaration | Inspection
    runs: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ChangedCode:
    """A method whose code is not that of finished runs of its version.

    Attributes:
        method: its name. version: of the runs, and still the method's.
        file: of its module. others: how many modules count beside it.
        runs: how many finished runs are of other code, without those that they were made from.
        digests: theirs, and today's.
    """

    method: str
    version: int
    file: Path
    others: int
    runs: int
    digests: frozenset[str]

    def __str__(self) -> str:
        beside = f" with {self.others} module{'s' * (self.others > 1)} that it imports" if self.others else ""
        runs = "1 finished run is" if self.runs == 1 else f"{self.runs} finished runs are"
        return f"'{self.method}' ({self.file}{beside}): {runs} of other code under the same version {self.version}"


def line_of(changed: Sequence[ChangedCode]) -> str:
    """One line on methods whose code has changed since, and what can be done."""
    return (
        f"code has changed: {', '.join(map(str, changed))}; to run anew raise its 'version', to keep the runs where "
        "results are the same: flipbench run --accept-code"
    )


class RunCode:
    """The code that the finished runs of a store were made with.

    Args:
        today: digest by method to compare it with, of some methods or none; that of the code itself if None.
    """

    def __init__(self, store: Store, today: Mapping[str, str] | None = None) -> None:
        self.store, self._today = store, today
        self._read: dict[str, dict[str, object]] = {}

    def recorded(self, stages: Iterable[Stage]) -> list[RecordedCode]:
        """What the finished runs among stages were made with, by method; those of earlier versions are left out."""
        found: dict[str, RecordedCode] = {}
        for stage in stages:
            if digests := self._digests(stage):
                for declared, version in methods_of(stage):
                    if version == declared.version and isinstance(digest := digests.get(declared.name), str):
                        found.setdefault(declared.name, RecordedCode(declared)).runs[digest] += 1
        return list(found.values())

    def changed(self, stages: Iterable[Stage]) -> list[ChangedCode]:
        """The methods whose code is not that of finished runs among stages (parents first).

        Raises:
            DamagedError: as :meth:`is_same`.
        """
        done = [stage for stage in stages if self.store.done(stage)]
        changed = []
        for recorded in self.recorded(done):
            declared, today = recorded.declared, code_of(recorded.declared.target)
            if today and (others := self.others(recorded)):
                runs, digests = self._runs_with(declared.name, others, done), frozenset((today.digest, *others))
                changed.append(ChangedCode(declared.name, declared.version, today.file, today.others, runs, digests))
        return changed

    def today(self, declared: Declaration | Inspection) -> str | None:
        """The digest of a method's code today; None where it is not known."""
        if self._today is not None:
            return self._today.get(declared.name)
        code = code_of(declared.target)
        return code.digest if code else None

    def others(self, recorded: RecordedCode) -> Counter[str]:
        """Of a method's runs those that are not of today's code."""
        today = self.today(recorded.declared)
        return Counter(
            {d: runs for d, runs in recorded.runs.items() if today and not self.is_same(recorded.declared, d, today)}
        )

    def is_same(self, declared: Declaration | Inspection, *digests: str) -> bool:
        """Whether digests are of one code, or are accepted as the same.

        Raises:
            DamagedError: the file that says so cannot be read.
        """
        same = {digests[0]}
        groups = self._accepted.get((declared.name, declared.version), [])
        while more := [group for group in groups if group & same and not group <= same]:
            same.update(*more)
        return same >= {*digests}

    def accept(self, changed: Iterable[ChangedCode]) -> None:
        """Record that the code of each is the same method as today's; the results folder can be written.

        Raises:
            UserError: the file cannot be written.
        """
        documents = [{"method": c.method, "same": sorted(c.digests), "version": c.version} for c in changed]
        try:
            with FileLock(self.store.root / ".work" / f"{ACCEPTED}.lock"), replacing(self._path) as beside:
                lines = [*self._lines(), *(json.dumps(document) for document in documents)]
                beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from None
        self.__dict__.pop("_accepted", None)

    @property
    def _path(self) -> Path:
        return self.store.root / ACCEPTED

    def _runs_with(self, method: str, digests: Container[object], done: Sequence[Stage]) -> int:
        """How many runs were made with one of the digests; those that others were made from count as part of these."""
        keys: set[str] = set()
        for stage in done:
            if self._digests(stage).get(method) in digests or any(p.key in keys for p in stage.parents.values()):
                keys.add(stage.key)
        return len(keys - {parent.key for stage in done for parent in stage.parents.values()})

    def _digests(self, stage: Stage) -> dict[str, object]:
        """By method, as a finished run recorded them; none where it did not."""
        if stage.key not in self._read and self.store.done(stage):
            try:
                code = self.store.document(self.store.folder(stage) / "env.json").get("code")
            except DamagedError:  # whoever reads the run's figures is told
                code = None
            self._read[stage.key] = code if isinstance(code, dict) else {}
        return self._read.get(stage.key, {})

    def _lines(self) -> list[str]:
        try:
            if self._path.is_symlink():
                raise DamagedError(f"{self._path}: a symbolic link; inside a results folder none is followed")
            return self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise DamagedError(f"{self._path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None

    @cached_property
    def _accepted(self) -> dict[tuple[str, int], list[frozenset[str]]]:
        groups: dict[tuple[str, int], list[frozenset[str]]] = {}
        for number, line in enumerate(self._lines(), 1):
            try:
                document = json.loads(line)
                method, version, same = (document[name] for name in ("method", "version", "same"))
                if not isinstance(same, list) or not all(isinstance(digest, str) for digest in same):
                    raise ValueError("'same' is no list of digests")
                groups.setdefault((method, version), []).append(frozenset(same))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DamagedError(f"{self._path}: line {number} is no record of accepted code ({error!r})") from None
        return groups
