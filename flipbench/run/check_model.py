"""Trying a registered model against the contract, with a line for each part of it."""

import contextlib
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

from flipbench import plugins
from flipbench.atomic import write_files
from flipbench.data.store import home
from flipbench.errors import UserError, described, reason_of, shorten
from flipbench.models.contract import ContractError
from flipbench.models.id_model import IDModel
from flipbench.places import Source
from flipbench.plan import registry
from flipbench.printable import one_line
from flipbench.run.contract import CHECKS, Subject, check

MOST_LETTERS = 400
"""Of what is said of a mistake: an error of torch may go on for pages, which are in the traceback."""


@dataclass(frozen=True)
class Finding:
    """What a part of the contract came to: ``said`` what holds, or what is wrong and, where it is known, at which
    ``place`` (``FILE:LINE``) of the model's own code."""

    check: str
    state: Literal["ok", "wrong", "not tried"]
    said: str
    place: str = ""


@dataclass(frozen=True)
class Checked:
    """What there is to say of a model; ``tracebacks`` is a file with those of all that is wrong."""

    model: str
    findings: tuple[Finding, ...]
    tracebacks: Path | None

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return self.tracebacks is None

    def as_dict(self) -> dict[str, Any]:
        findings = [asdict(finding) for finding in self.findings]
        return {
            "model": self.model,
            "holds": self.holds,
            "tracebacks": self.tracebacks and str(self.tracebacks),
            "findings": findings,
        }


def check_model(name: str) -> Checked:
    """Try every part of the contract on a registered ID-based model, at its declared settings, on one CPU thread.

    Raises:
        UserError: no such model, nor one in the working folder that is yet to be registered; it is no ID-based model;
            or the tracebacks cannot be written.
    """
    points = _points(name)
    source = Source(points[0].value if points else "")
    found: dict[str, Finding] = {}
    told: dict[str, str] = {}

    def note(part: str, act: Callable[[], str]) -> None:
        try:
            found[part] = Finding(part, "ok", act())
        except (Exception, SystemExit) as error:
            found[part] = _wrong(part, error, source)
            told[part] = "".join(traceback.format_exception(error))

    subjects: list[Subject] = []

    def registered() -> str:
        subjects.append(_subject(name, points))
        return f"{source.target}, {source.of_class()}"

    with redirect_stdout(sys.stderr):  # what a user's code prints is none of our output
        note("registered", registered)
        for part, (_, needs) in CHECKS.items() if subjects else ():
            if missing := next((each for each in needs if found[each].state != "ok"), None):
                found[part] = Finding(part, "not tried", f"needs '{missing}'")
            else:
                note(part, partial(check, part, subjects[0]))
    return Checked(name, tuple(found.values()), _written(name, told))


def _points(name: str) -> list[EntryPoint]:
    """All that is registered under a name, of whatever kind.

    Raises:
        UserError: nothing is, nor is there a class for it in the working folder; or it is no ID-based model.
    """
    by_kind = {
        kind: [point for point in plugins.registered(group) if point.name == name]
        for kind, group in registry.GROUPS.items()
    }
    points = [point for each in by_kind.values() for point in each]
    if not points and not registry.unregistered(name):
        registry.get(name)
    if points and not by_kind.get("id"):
        kind = next(kind for kind, each in by_kind.items() if each)
        raise UserError(f"'{name}' is a method of kind '{kind}'; the contract is that of ID-based models")
    return points


def _subject(name: str, points: Sequence[EntryPoint]) -> Subject:
    if len(points) > 1:
        owners = (f"'{p.dist.name if p.dist else '?'}' ({Source(p.value).of_class() or p.value})" for p in points)
        raise ContractError(f"the packages {' and '.join(owners)} both register '{name}': one is to take another name")
    if not points and (found := registry.unregistered(name)):
        raise ContractError(found.problem, place=found.place)
    declared = registry.get(name)
    cls = declared.load()
    if not (isinstance(cls, type) and issubclass(cls, IDModel)):
        raise ContractError(f"{declared.target} is no subclass of flipbench.models.id_model.IDModel")
    return Subject.of(cls)


def _wrong(part: str, error: BaseException, source: Source) -> Finding:
    if isinstance(error, ContractError):
        said, place = str(error), error.place or (source.of_name(*error.names) if error.names else "")
    else:
        said, place = reason_of(error) if isinstance(error, Exception) else described(error), ""
        if declared := re.search(r" declares (\w+): (?:(\w+): )?", said):
            place = source.of_name(*filter(None, (declared[2], declared[1])))
    return Finding(
        part, "wrong", shorten(one_line(said), MOST_LETTERS), place or source.of_error(error) or source.of_class()
    )


def _written(name: str, told: Mapping[str, str]) -> Path | None:
    """The file of the tracebacks; none where there are none, not of an earlier time either."""
    folder, file = home() / "checks", f"{re.sub(r'[^0-9A-Za-z_.-]', '_', name)[:80]}.txt"
    if not told:
        with contextlib.suppress(OSError):
            (folder / file).unlink(missing_ok=True)
        return None
    text = "\n".join(f"{part}\n{detail}" for part, detail in told.items())
    return write_files(folder, {file: text.encode("utf-8", "backslashreplace")}, "the tracebacks")[0]
