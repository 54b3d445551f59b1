"""``flipbench slices``, ``power``, ``gap``, ``claims``, ``audit-paper``: results against each other and the paper."""

import argparse
import math
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flipbench import api
from flipbench.cli.output import print_either, print_json, print_table, say, suite_of, tell
from flipbench.cost.plan_cost import counted

if TYPE_CHECKING:
    from flipbench.report.claims import Evaluated
    from flipbench.report.gap import Rung
    from flipbench.report.power import Power
    from flipbench.report.slices import Slice


def slices(args: argparse.Namespace) -> None:
    """Print one table a data set: AUC by how often training shows the item."""
    suite = suite_of(args)
    reference = args.reference or suite.compare.reference
    cells = api.slices(suite, reference)
    if args.json:
        print_json([asdict(cell) for cell in cells])
        return
    for number, dataset in enumerate(dict.fromkeys(cell.dataset for cell in cells)):
        here = {(cell.method, cell.items): cell for cell in cells if cell.dataset == dataset}
        rows_of = {items: cell.rows for (_, items), cell in here.items()}
        seeds_of = {method: cell.seeds for (method, _), cell in here.items()}
        _title(number, f"{dataset}: AUC by how often training shows the item (less {reference})")
        head = ["method", "seeds", *(f"{items} ({rows:,} rows)" for items, rows in rows_of.items())]
        print_table(head, [[m, str(s), *(_slice(here[m, items]) for items in rows_of)] for m, s in seeds_of.items()])


def _title(number: int, line: str) -> None:
    """Print what stands over a table, apart from the one before it."""
    if number:
        print()
    say(line)


def _slice(cell: "Slice") -> str:
    if cell.auc is None:
        return "—"
    d = cell.difference
    return f"{cell.auc:.4f}" + ("" if d is None else f" ({d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}])")


def power(args: argparse.Namespace) -> None:
    """Print one table a data set: what each pair's test resolves, and what the difference in question takes."""
    suite = suite_of(args)
    answers = api.power(suite, metric=args.metric, difference=args.difference)
    if args.json:
        print_json([_power(answer) for answer in answers])
        return
    clustered = {data.label: data.dataset.clustered for data in suite.data}
    for number, dataset in enumerate(dict.fromkeys(answer.dataset for answer in answers)):
        here = [answer for answer in answers if answer.dataset == dataset]
        first, tests = here[0], round(suite.compare.alpha / here[0].alpha)
        level = f"power .8 at p < {suite.compare.alpha:g}/{tests}"
        unit = "users" if clustered[dataset] else "rows"
        of_test = f"{dataset}: {args.metric}, {first.users:,} test {unit}"
        _title(number, f"{of_test}, {level}; in brackets whatever the seeds, where estimable")
        alike: dict[tuple[str, ...], list[str]] = {}
        for answer in here:
            alike.setdefault((answer.row, *_answer(answer)), []).append(answer.against)
        rows = [
            [f"{row} − {others[0] if len(others) == 1 else f'{len(others)} rows'}", *told]
            for (row, *told), others in alike.items()
        ]
        seeds, for_it = counted(first.seeds, "seed"), f"for {first.difference:g}"
        columns = ["rows", f"difference found, {seeds}", "equivalence within", f"seeds {for_it}", f"{unit} {for_it}"]
        print_table([*columns, "known from"], rows, columns[1:])
    if any(answer.known == "assumed" for answer in answers):
        from flipbench.report.power import ASSUMPTIONS

        _title(1, f"assumed: {ASSUMPTIONS[args.metric]}")
    if missing := {data.label for data in suite.data} - {answer.dataset for answer in answers}:
        tell(f"neither runs nor prepared data here: {', '.join(sorted(missing))}")


def _power(answer: "Power") -> dict[str, Any]:
    """As plain data: what has no finite value is None."""
    document = asdict(answer)
    for part in ("luck", "reach"):
        numbers = document[part] or {}
        numbers |= {name: None for name, n in numbers.items() if n is not None and not math.isfinite(n)}
    return document


def _answer(answer: "Power") -> tuple[str, ...]:
    """In words, but for the rows that it is of; no brackets where the users' part is not estimable."""
    reach, told, limited = answer.reach, ["—", "—"], answer.luck.users > 0
    if reach:
        either = (reach.difference, reach.difference_at_best), (reach.margin, reach.margin_at_best)
        told = [f"{now:.4f}{f' ({at_best:.4f})' * limited}" for now, at_best in either]
    users = f"{_count(answer.users_needed)}{f' ({_count(answer.users_at_best)})' * limited}"
    return (*told, _count(answer.seeds_needed), users, f"{answer.known}: {answer.basis}")


def _count(needed: int | None) -> str:
    return "none" if needed is None else f"{needed:,}"


def gap(args: argparse.Namespace) -> None:
    """Print one ladder a cell that has runs."""
    ladders = api.gap(suite_of(args), args.suite)
    if args.json:
        labels = ({"dataset": cell.data.label, "method": cell.method.label} for cell, _ in ladders)
        print_json([{**label, "rungs": [*map(vars, rungs)]} for label, (_, rungs) in zip(labels, ladders, strict=True)])
        return
    for number, (cell, rungs) in enumerate(ladders):
        _title(number, f"{cell.method.label} · {cell.data.label}")
        rows = [
            [r.factor, r.what, _range(r), "—" if r.step is None else f"{r.step:+.4f}", str(len(r.runs) or "")]
            for r in rungs
        ]
        print_table(["factor", "value", "AUC", "less ours", "runs"], rows, ["AUC", "less ours", "runs"])
        for rung in rungs:
            if rung.command:
                say(f"no run with another {rung.factor}: {rung.command}")


def _range(rung: "Rung") -> str:
    if rung.auc is None:
        return "—"
    spread = f" [{rung.low:.4f}, {rung.high:.4f}]" if rung.low is not None and len(rung.runs) > 1 else ""
    return f"{rung.auc:.4f}{spread}"


def claims(args: argparse.Namespace) -> None:
    """Print every claim with its verdict and, with ``--json``, every statement behind it."""
    evaluated = api.claims(args.results)
    rows = [[str(e.claim.id), e.claim.claim, e.outcome, e.paper, _summary(e)] for e in evaluated]
    columns = ["", "claim", "here", "paper's numbers", "evidence"]
    print_either(args.json, [_claim(e) for e in evaluated], columns, rows, [""])


def _claim(e: "Evaluated") -> dict[str, Any]:
    return {
        "id": e.claim.id,
        "claim": e.claim.claim,
        "where": e.claim.where,
        "verdict": e.outcome,
        "evidence": [{**vars(statement), "keys": list(statement.keys)} for statement in e.evidence],
        "paper": e.paper,
        "paper_against": list(e.against),
    }


def _summary(e: "Evaluated") -> str:
    """How many statements stand how, and the one that speaks most clearly against the claim."""
    counts = Counter[str](statement.outcome for statement in e.evidence)
    outcomes = [outcome for outcome in ("supported", "refuted", "inconclusive", "not run") if counts[outcome]]
    words = ", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes)
    if refuted := [statement for statement in e.evidence if statement.outcome == "refuted"]:
        worst = min(refuted, key=lambda statement: statement.gain or 0.0)
        words += f"; {worst.where}: {worst.words} fails by {worst.gain:+.4f}"
    return words


def audit_paper(args: argparse.Namespace) -> None:
    """Print what does not agree in the paper, and how much was checked."""
    from flipbench.paper.audit import audit

    findings = audit()
    if args.json:
        print_json([asdict(finding) for finding in findings])
        return
    off = [finding for finding in findings if not finding.agrees]
    print_table(["check", "where", "printed", "found"], [[f.check, f.where, f.printed, f.found] for f in off])
    total, agree = Counter(f.check for f in findings), Counter(f.check for f in findings if f.agrees)
    for check, count in total.items():
        say(f"{check}: {agree[check]} of {count} agree")
