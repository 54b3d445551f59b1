"""The paper's claims as predicates, evaluated on any set of numbers (``claims.yaml``)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from itertools import product
from typing import Annotated, Literal, Protocol, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flipbench import yamlfile
from flipbench.errors import UserError
from flipbench.paper.names import TABLES, family, is_proposed
from flipbench.paper.values import paper_datasets, paper_methods, paper_value
from flipbench.protocol import Metric

Measure = Literal["auc", "logloss", "mean_cosine", "effective_rank", "top1_text", "top1_table", "chance"]
"""What a claim can be of: the two metrics, and what is measured of a pretraining."""

LOWER_IS_BETTER = frozenset({"logloss", "mean_cosine"})
SETS = {"id": "ID-based", "plm": "PLM-based"}
"""Sets of Table II's rows by family; ``baselines`` are all that are not the paper's own."""

LEVEL = 0.05
"""Of the tests of statements over seeds."""

MARGIN = 0.001
"""How far a gain may be from the one that is claimed (paper V-A2)."""

Names = Annotated[list[str], BeforeValidator(lambda names: [names] if isinstance(names, str) else names)]
"""One name or several."""

Outcome = Literal["supported", "refuted", "inconclusive", "not run"]
OfPaper = Literal["supported", "refuted", "untested", "not printed"]


class Statement(BaseModel):
    """One line of ``holds``; its keys are explained at the top of ``claims.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    better: Names = []
    than: Names = []
    best_of: bool = False
    metrics: list[Measure] = ["auc", "logloss"]
    data: list[str] | None = None
    significant: bool = False
    by: dict[str, float] = {}
    sum: dict[str, float] = {}
    chance: Measure | None = None
    resolves: float | None = None


class Claim(BaseModel):
    """A claim in our words, where the paper makes it, and what must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: int
    claim: str
    where: str
    holds: list[Statement] = Field(min_length=1)


class Numbers(Protocol):
    """Numbers that a claim can be evaluated on."""

    def datasets(self, table: str) -> list[str]: ...

    def rows(self, table: str) -> list[str]: ...

    def sample(self, table: str, row: str, dataset: str, measure: Measure) -> Mapping[int, float]:
        """By seed; empty where nothing was run."""
        ...


@dataclass(frozen=True)
class Term:
    """A difference that a claim wants to be a gain: a weighted sum of rows, positive where the claim is right.

    Attributes:
        table, dataset, measure: of what. weights: by (row, measure); of a measure that is better when lower, negative.
        words: for people (``flip > ctrl``).
        pair: the two rows, where the declared test decides. target: the gain claimed, where one is.
    """

    table: str
    dataset: str
    measure: Measure
    weights: Mapping[tuple[str, Measure], float]
    words: str
    pair: tuple[str, str] | None = None
    target: float | None = None


@cache
def load_claims() -> tuple[Claim, ...]:
    """All of ``claims.yaml``."""
    with as_file(files("flipbench.paper").joinpath("claims.yaml")) as path:
        content = yamlfile.load(path)
        try:
            return tuple(Claim.model_validate(item) for item in content)
        except ValidationError as error:
            problem = error.errors()[0]
            raise UserError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None


def terms(statement: Statement, numbers: Numbers) -> Iterator[Term]:
    """The differences that a statement is about, on every data set and in every metric."""
    table = statement.table
    datasets = statement.data or list(statement.by) or numbers.datasets(table)
    for dataset, measure in product(datasets, statement.metrics):
        sign = -1.0 if measure in LOWER_IS_BETTER else 1.0
        if statement.sum:
            weights = {(row, measure): sign * w for row, w in statement.sum.items()}
            words = " ".join(f"{w:+g} {row}" for row, w in statement.sum.items())
            yield Term(table, dataset, measure, weights, f"{words} > 0")
        elif statement.chance:
            for row in _rows(statement.better, numbers, table):
                words = f"{row} > {statement.chance}"
                yield Term(table, dataset, measure, {(row, measure): 1.0, (row, statement.chance): -1.0}, words)
        else:
            for row, other in _pairs(statement, numbers, dataset, measure):
                weights = {(row, measure): sign, (other, measure): -sign}
                target = statement.by.get(dataset)
                words = f"{row} > {other}" if target is None else f"{row} - {other} = {target:g}"
                pair = (row, other) if statement.significant else None
                yield Term(table, dataset, measure, weights, words, pair, target)


def _pairs(statement: Statement, numbers: Numbers, dataset: str, measure: Measure) -> Iterator[tuple[str, str]]:
    """Every row of ``better`` with every row of ``than``, ``*`` being the same group in both."""
    table = statement.table
    in_groups = all(any(name.startswith("*/") for name in names) for names in (statement.better, statement.than))
    pairs = [
        (row, other)
        for row, other in product(_rows(statement.better, numbers, table), _rows(statement.than, numbers, table))
        if row != other and not (in_groups and row.partition("/")[0] != other.partition("/")[0])
    ]
    if not statement.best_of or not pairs:
        yield from pairs
        return
    sign = -1.0 if measure in LOWER_IS_BETTER else 1.0

    def rank(row: str) -> float:
        sample = numbers.sample(table, row, dataset, measure)
        return sign * sum(sample.values()) / len(sample) if sample else float("-inf")

    yield max((row for row, _ in pairs), key=rank), max((other for _, other in pairs), key=rank)


def _rows(names: list[str], numbers: Numbers, table: str) -> list[str]:
    """The rows that names, sets and patterns mean."""
    known, chosen = numbers.rows(table), []
    for name in names:
        if name == "baselines":
            chosen += [row for row in known if not is_proposed(row)]
        elif name in SETS:
            chosen += [row for row in known if family(row) == SETS[name] and not is_proposed(row)]
        elif name.startswith("*/"):
            chosen += [row for row in known if row.endswith(name[1:])]
        else:
            chosen.append(name)
    return chosen


class PaperNumbers:
    """What the paper prints: one number a cell, no spread and no test."""

    def datasets(self, table: str) -> list[str]:
        return paper_datasets(table) if table in TABLES else []

    def rows(self, table: str) -> list[str]:
        return paper_methods(table) if table in TABLES else []

    def sample(self, table: str, row: str, dataset: str, measure: Measure) -> Mapping[int, float]:
        if table not in TABLES or measure not in get_args(Metric):
            return {}
        value = paper_value(table, row, dataset, measure)  # type: ignore[arg-type]
        return {} if value is None else {0: value}


def gains(term: Term, numbers: Numbers) -> dict[int, float]:
    """The term's value by seed, over the seeds that all its rows have; empty where one has none."""
    samples = {(row, measure): numbers.sample(term.table, row, term.dataset, measure) for row, measure in term.weights}
    seeds = set.intersection(*(set(sample) for sample in samples.values()))
    return {seed: sum(w * samples[key][seed] for key, w in term.weights.items()) for seed in sorted(seeds)}


def of_paper(claim: Claim) -> tuple[OfPaper, list[str]]:
    """What the paper's own numbers make of its claim, and the statements that they contradict.

    A printed number is taken as exact: nothing is assumed of its chance error.
    """
    numbers, against, seen = PaperNumbers(), [], False
    for statement in claim.holds:
        if statement.significant or statement.resolves is not None:
            return "untested", []
        for term in terms(statement, numbers):
            for gain in gains(term, numbers).values():
                seen = True
                gain = round(gain, 6)  # of numbers printed with four digits
                holds = gain > 0 if term.target is None else abs(gain - term.target) <= MARGIN
                if not holds:
                    against.append(f"{term.table} {term.dataset} {term.measure}: {term.words} fails by {gain:+.4f}")
    if not seen:
        return "not printed", []
    return ("refuted" if against else "supported"), against
