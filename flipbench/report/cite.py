"""BibTeX of everything that a suite's tables use."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from flipbench.data import dataset as datasets
from flipbench.paper import citations
from flipbench.paper.citations import DATASETS, METHODS, PLMS, PUBLISHED
from flipbench.plan import registry
from flipbench.plan.entries import DataEntry, MethodEntry
from flipbench.plan.expand import resolve
from flipbench.plan.settings import PRETRAIN
from flipbench.plan.suite import Suite
from flipbench.report.latex import escape
from flipbench.text import source


@dataclass(frozen=True)
class Bibliography:
    """What a suite uses.

    Attributes:
        bibtex: entries as BibTeX: flipbench's own, the paper's, and those of data sets, methods, PLMs and numbers that
            others publish, each once.
        unknown: what else it uses, of which no source is known here: ``model 'mine'``.
    """

    bibtex: str
    unknown: tuple[str, ...]


def bibliography(suite: Suite) -> Bibliography:
    """What a suite uses, whether or not it has results.

    A data set of your own is cited by its ``citation``: as it is where that is BibTeX, else as an entry with the text
    as its note.

    Raises:
        UserError: a method cannot be loaded, or a row's settings do not go together.
    """
    written, unknown = {"flipbench": citations.FLIPBENCH, citations.PAPER: citations.entries()[citations.PAPER]}, []
    for data in suite.data:
        if data.name in DATASETS:
            written |= _known(DATASETS[data.name])
        elif entry := _own(datasets.get(data.name)):
            written[data.name] = entry
        else:
            unknown.append(f"data set '{datasets.get(data.name).name}'")
        written |= _known(PUBLISHED.get(data.published or "", ()))
    for row in suite.methods:
        for data in suite.data:
            for what, name, keys in _parts(suite, row, data):
                if keys is None:
                    unknown.append(f"{what} '{name}'")
                else:
                    written |= _known(keys)
    return Bibliography("\n\n".join(written.values()) + "\n", tuple(dict.fromkeys(unknown)))


def _known(keys: tuple[str, ...]) -> dict[str, str]:
    return {key: citations.entries()[key] for key in keys}


def _own(data: datasets.Dataset) -> str | None:
    """The entry of a data set of the user's; None where nothing is said of its source."""
    said = data.citation.strip()
    if said.startswith("@"):
        return said
    key = re.sub(r"[^A-Za-z0-9:._-]", "-", data.name)
    return f"@misc{{{key},\n  title = {{{escape(data.title)}}},\n  note = {{{escape(said)}}},\n}}" if said else None


def _parts(suite: Suite, row: MethodEntry, data: DataEntry) -> Iterator[tuple[str, str, tuple[str, ...] | None]]:
    """What a row is made of on a data set: the kind, name and keys of each part; None for the keys that are not known.

    The method, the ID-based model that it is built on, its pretraining, where it has one that is not switched off, and
    its PLM; ``small`` is no one's.
    """
    declared = registry.get(row.method)
    settings = resolve(declared, suite.settings_of(row, data))
    yield "model", row.method, METHODS.get(row.method)
    if backbone := settings.get("backbone"):
        yield "model", str(backbone), METHODS.get(str(backbone))
    if declared.pretraining and registry.pretraining(declared.pretraining).is_on(settings[PRETRAIN]):
        yield "pretraining", declared.pretraining, METHODS.get(declared.pretraining)
    if (spec := str(settings.get("plm", "small"))) != "small":
        name = PurePath(source.parse(spec).place).name
        yield "PLM", name, PLMS.get(name)
