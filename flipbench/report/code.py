"""Rows whose runs are not of one code, or not of today's, although their methods have one version."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flipbench.plan.stage import Stage
from flipbench.store.code import RunCode
from flipbench.store.runs import Store

MARK = "‡"
"""Beside the name of such a row."""


@dataclass(frozen=True)
class CodeMarks:
    """The rows that are marked.

    Attributes:
        rows: by label, what differs of which method.
        today: digest by method of the code that the runs differ from, so that the report can be made again when the
            code is another once more.
    """

    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    today: Mapping[str, str] = field(default_factory=dict)


def code_marks(rows: Mapping[str, Iterable[Stage]], store: Store, today: Mapping[str, str] | None) -> CodeMarks:
    """The marks of rows, given by label with all stages behind them.

    Args:
        today: digest by method of the code to compare with, of some methods or none; that of the code itself if None.

    Raises:
        DamagedError: what is accepted as the same code cannot be read.
    """
    code = RunCode(store, today)
    marked: dict[str, tuple[str, ...]] = {}
    differed: dict[str, str] = {}
    for label, stages in rows.items():
        words = []
        for recorded in code.recorded(stages):
            name, others = recorded.declared.name, code.others(recorded)
            between = not code.is_same(recorded.declared, *recorded.runs)
            if others and (digest := code.today(recorded.declared)):
                differed[name] = digest
            if others or between:
                where = [*(["between its runs"] if between else []), *(["from today's"] if others else [])]
                words.append(f"'{name}' differs {' and '.join(where)}")
        if words:
            marked[label] = tuple(words)
    return CodeMarks(marked, differed)
