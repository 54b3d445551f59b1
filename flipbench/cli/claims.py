"""``flipbench claims``."""

import argparse
from functools import cache
from typing import Any

from flipbench.cli.common import has_results, results_of
from flipbench.cli.output import print_json, print_table
from flipbench.paper.claims import load_claims
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.report.claims import Evaluated, Judged, OurNumbers, Suite, evaluate, measurements


def main(args: argparse.Namespace) -> int:
    """Print every claim with its verdict and, with ``--json``, every statement behind it."""
    names = {path.stem for path in suite.available()}

    @cache
    def results(name: str) -> Suite | None:
        if name not in names:
            return None
        found = plan.with_options(suite.load(name), None, None, args.results)
        ran = [entry for entry in found.data if has_results(found.model_copy(update={"data": [entry]}))]
        if not ran:
            return None
        planned, store, collected = results_of(found.model_copy(update={"data": ran}))
        return Suite(collected, tuple(entry.label for entry in found.data), *measurements(planned, store))

    numbers = OurNumbers(results)
    evaluated = [evaluate(claim, numbers) for claim in load_claims()]
    if args.json:
        print_json([_record(e) for e in evaluated])
        return 0
    rows = [[str(e.claim.id), e.claim.claim, e.outcome, e.paper, _summary(e)] for e in evaluated]
    print_table(["", "claim", "here", "paper's numbers", "evidence"], rows, right=frozenset({""}))
    return 0


def _summary(e: Evaluated) -> str:
    """How many statements stand how, and the one that speaks most clearly against the claim."""
    counts = {o: sum(j.outcome == o for j in e.evidence) for o in ("supported", "refuted", "inconclusive", "not run")}
    words = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    refuted = [j for j in e.evidence if j.outcome == "refuted"]
    if refuted:
        worst = min(refuted, key=lambda j: j.gain or 0.0)
        words += f"; {worst.where}: {worst.words} fails by {worst.gain:+.4f}"
    return words


def _record(e: Evaluated) -> dict[str, Any]:
    return {
        "id": e.claim.id,
        "claim": e.claim.claim,
        "where": e.claim.where,
        "verdict": e.outcome,
        "evidence": [_judged(j) for j in e.evidence],
        "paper": e.paper,
        "paper_against": list(e.against),
    }


def _judged(j: Judged) -> dict[str, Any]:
    return {**vars(j), "keys": list(j.keys)}
