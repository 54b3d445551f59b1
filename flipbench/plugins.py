"""What installed packages register under the groups of entry points, none at the cost of another."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, distributions, entry_points

from flipbench.errors import UserError, described


@cache
def registered(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, in the order of their packages; those of damaged packages are left out."""
    try:
        return tuple(entry_points(group=group))
    except Exception:
        return tuple(point for point in _package_by_package()[0] if point.group == group)


def unreadable() -> list[str]:
    """A line for each installed package whose entry points are damaged, so that what it registers is not known."""
    return _package_by_package()[1]


def refuse_twice(name: str, groups: Iterable[str], what: str) -> None:
    """Raises UserError where several plug-ins have a name, in one group or in several that share their names.

    Which of them was meant nobody knows, and a result under the name would be of the one that happens to come last.
    """
    found = {(group, point.value): point for group in groups for point in registered(group) if point.name == name}
    if len(found) > 1:
        by = " and ".join(f"package '{package_of(point)}' ({point.value})" for point in found.values())
        raise UserError(f"{what} '{name}' is registered by {by}; uninstall one of them, or give it another name")


def package_of(point: EntryPoint) -> str:
    """The name of the package that an entry point is of."""
    return point.dist.name if point.dist else "unknown"


@cache
def _package_by_package() -> tuple[Sequence[EntryPoint], list[str]]:
    """All entry points but those of damaged packages, and a line for each of these; the first of each name counts."""
    points: list[EntryPoint] = []
    lines, seen = [], set[str]()
    for package in distributions():
        name = re.sub("[-_.]+", "-", package.name or "").lower()
        if name in seen:  # a copy that another one hides, as importlib passes over it
            continue
        seen.add(name)
        try:
            points += package.entry_points
        except Exception as error:  # of one package, which must not cost those of all others
            lines.append(f"package '{package.name}': its entry points cannot be read ({described(error)})")
    return points, lines


def forget() -> None:
    """Read anew what is installed: for a process that installs packages."""
    registered.cache_clear()
    _package_by_package.cache_clear()
