"""The paper's own numbers and statements, compared with each other."""

from collections.abc import Iterator
from dataclasses import dataclass

from flipbench.paper.claims import load_claims, of_paper
from flipbench.paper.names import TABLES
from flipbench.paper.values import load_tables, paper_datasets, paper_methods, paper_value


@dataclass(frozen=True)
class Finding:
    """One check of the paper against itself.

    Attributes:
        check: which kind. where: the cell or claim. printed: what stands there. found: what it should be, or is
            elsewhere. agrees: whether they are the same.
    """

    check: str
    where: str
    printed: str
    found: str
    agrees: bool


def audit() -> list[Finding]:
    """Every check: Rel.Impr recomputed, numbers printed twice, and the prose against the tables."""
    return [*_relative_gains(), *_printed_twice(), *_prose()]


def _relative_gains() -> Iterator[Finding]:
    """Table II's Rel.Impr, ``100 * (AUC_FLIP / AUC_row - 1)``, from its own AUCs."""
    for row, cells in load_tables()["table2"].items():
        for dataset, cell in cells.items():
            if "rel_impr" in cell:
                again = 100 * (load_tables()["table2"]["flip"][dataset]["auc"] / cell["auc"] - 1)
                printed, found = f"{cell['rel_impr']:.2f}", f"{again:.2f}"
                yield Finding("Rel.Impr", f"Table II {row} {dataset}", printed, found, printed == found)


def _printed_twice() -> Iterator[Finding]:
    """The same run in several tables: FLIP on DCNv2 and TinyBERT, and the models trained from scratch."""
    for table in list(TABLES)[1:]:
        for row in paper_methods(table):
            if (same := _in_table2(table, row)) is None:
                continue
            for dataset in paper_datasets(table):
                for metric in ("auc", "logloss"):
                    printed = f"{paper_value(table, row, dataset, metric):.4f}"
                    found = f"{paper_value('table2', same, dataset, metric):.4f}"
                    where = f"Table {TABLES[table]} {row} {dataset} {metric}"
                    yield Finding("printed twice", where, printed, f"{found} in Table II", printed == found)


def _in_table2(table: str, row: str) -> str | None:
    """The row of Table II that is the same run; None where it has no such row."""
    group, _, name = row.rpartition("/")
    if name == "none":
        return group
    if group in ("", "none", "dcnv2", "tinybert") and name in paper_methods("table2"):
        return name
    return None


def _prose() -> Iterator[Finding]:
    """Each claim that the tables print numbers for."""
    for claim in load_claims():
        outcome, against = of_paper(claim)
        if outcome in ("supported", "refuted"):
            where = f"claim {claim.id} ({claim.where})"
            yield Finding("prose", where, claim.claim, "; ".join(against) or "holds", outcome == "supported")
