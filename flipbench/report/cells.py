"""What a report is made from: the finished runs of one suite, already read from the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flipbench.paper.others import Published
from flipbench.plan.entries import Compare
from flipbench.protocol import Metric, Validation
from flipbench.report.code import CodeMarks
from flipbench.report.settings import Unstated
from flipbench.stats.difference import Difference
from flipbench.stats.power import Reach


@dataclass(frozen=True)
class ScoredRun:
    """One finished run, scored on the whole test set.

    Attributes:
        key: the run's content address, so that a printed number can be traced.
        seed: its seed.
        auc: in [0, 1].
        logloss: nats per row.
    """

    key: str
    seed: int
    auc: float
    logloss: float


@dataclass(frozen=True)
class CellRuns:
    """The runs of one method on one data set.

    Attributes:
        runs: those that finished, in any order.
        failed: how many ended in an error.
        expected: how many the suite asks for (its ``seeds``).
    """

    method: str
    dataset: str
    runs: tuple[ScoredRun, ...]
    failed: int
    expected: int

    def values(self, metric: Metric) -> list[float]:
        """One number a finished run, by seed."""
        return [run.auc if metric == "auc" else run.logloss for run in sorted(self.runs, key=lambda run: run.seed)]

    def agrees(self, metric: Metric) -> bool:
        """Whether all seeds, two or more, have the same value to the last bit."""
        return not self.failed and 1 < len(self.runs) == self.expected and len(set(self.values(metric))) == 1


@dataclass(frozen=True)
class Comparison:
    """Two rows of one data set tested against each other, over the seeds that both have run.

    Attributes:
        difference: ``row`` minus ``against``; adjusted over the family of all of the suite's comparisons in ``metric``.
        reach: what the test can resolve at the strictest step of that adjustment, ``alpha`` over their number.
    """

    dataset: str
    metric: Metric
    row: str
    against: str
    difference: Difference
    reach: Reach | None = None

    def significant(self, alpha: float) -> bool:
        """Whether ``row`` is the better one, at level ``alpha`` of the whole family."""
        difference = self.difference
        gain = difference.value if self.metric == "auc" else -difference.value
        return gain > 0 and (difference.p if difference.adjusted is None else difference.adjusted) < alpha


@dataclass(frozen=True)
class SuiteResults:
    """A suite and what has been run of it.

    Attributes:
        suite: name (``table2``); names the report's files.
        title: the table's title.
        paper: key of the paper's table to print beside ours (``table2``), or None.
        protocol: ``held-out`` or ``as-released``.
        order: row order of the split; ``chronological`` unless the suite says otherwise; several, where its
            data sets differ, are joined by ``+``.
        validations, refits: of the held-out protocol's columns, in the suite's order, each once; as ``order``, of the
            data sets with runs, or of all where there are none.
        seeds: runs expected of each cell.
        compare: how rows are compared; without a reference there is no column of Rel.Impr.
        cells: one for each method and data set with any run; those left out count as not run.
        datasets: the suite's data sets, in its order.
        methods: the suite's methods, in its order.
        versions: ``flipbench`` and ``torch`` versions, and ``data/NAME`` -> content fingerprint of each data set.
        notes: sentences for the end of the caption.
        registered: method by row, where the row has another name.
        comparisons: rows tested against each other; none where one seed was run.
        unstated: by row with runs, the settings whose values are neither the paper's nor released code's.
        floors: rows that any model must beat: those whose method is of the kind ``floor``.
        published: what others publish, by the data set that it is printed beside.
        code: rows whose runs are not of one code, or not of today's.
        unclustered: data sets with runs whose rows are of no known users, so that tests resample the rows.
    """

    suite: str
    title: str
    paper: str | None
    protocol: str
    order: str
    seeds: int
    compare: Compare
    cells: tuple[CellRuns, ...]
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    registered: Mapping[str, str] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    unstated: Mapping[str, Unstated] = field(default_factory=dict)
    validations: tuple[Validation, ...] = ("known-users",)
    refits: tuple[bool, ...] = (True,)
    floors: frozenset[str] = frozenset()
    published: Mapping[str, Published] = field(default_factory=dict)
    code: CodeMarks = field(default_factory=CodeMarks)
    unclustered: tuple[str, ...] = ()
